/* Putting an image right: after a dump, before anybody reads it. What a later CRIU has in it, and we do not know, stays. */
#pragma once

#include "checkpoint/images.h"

/* Changes the message of an image; *changed is false when it is called. */
typedef struct rt_error *(*rt_image_change_fn)(ProtobufCMessage *message, const void *userdata, bool *changed);

/* For images of one entry with nothing after it. The file is written only where the message was changed. No such file: an error. */
struct rt_error *rt_image_change(int dir_fd, const char *name, enum rt_image_kind kind, rt_image_change_fn change, const void *userdata) _must_check_;
