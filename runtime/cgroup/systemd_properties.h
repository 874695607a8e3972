/* Properties of a unit, as lines for the helper program: "NAME<tab>SIGNATURE<tab>VERSION<tab>VALUE". Pure, but for the names
 * of device drivers, which are read from /proc/devices where a rule needs one.
 *
 * SIGNATURE is D-Bus's; VERSION the systemd that first knew the property (older ones are not told of it), 0 for any. In
 * arrays the elements, and in pairs the halves, are set apart by the byte 0x1f. */
#pragma once

#include "runtime/base/error.h"
#include "runtime/spec/spec.h"

#include <stdio.h>

#define RT_PROPERTY_SEPARATOR '\x1f'

/* The limits, in the names that systemd has for this kind of machine. */
struct rt_error *rt_properties_limits(FILE *out, const struct rt_spec_resources *resources, bool v2) _must_check_;

/* DevicePolicy and DeviceAllow, with the devices every container has. */
struct rt_error *rt_properties_devices(FILE *out, const struct rt_spec_resources *resources) _must_check_;

/* "org.systemd.property.NAME": the value is a GVariant text: true, 'text', 5, uint64 5, ['a', 'b']. NAME ending in Sec is
 * in seconds. Other annotations are none of our business and fine. */
struct rt_error *rt_properties_annotation(FILE *out, const struct rt_spec_key_value *annotation) _must_check_;
