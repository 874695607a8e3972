/* `rt spec validate --host`: what a valid configuration wants and this machine can't do.
 *
 * Asks without changing anything. It does not promise that a start succeeds: it names what is known to fail, or to be left out,
 * before anything is made. */
#pragma once

#include "runtime/spec/spec.h"

/* One call of the visitor for each; `section` says that it is about the machine. `bundle` is where relative paths start. The spec
 * may be incomplete, as in an audit that has found violations. */
struct rt_error *rt_host_audit(const struct rt_spec *spec, const char *bundle, const struct rt_spec_visitor *visitor) _must_check_;
