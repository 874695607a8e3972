/* The file `manifest` of a checkpoint directory: making, storing, loading and holding the images against it.
 *
 * proto/manifest.proto says what it holds; whoever dumps fills the message in. Here is what needs care: it is
 * written last and atomically, so that a directory with a manifest is a finished checkpoint; and when each file's digest is taken.
 *
 * Digests and time. SHA-256 runs at about 1.1 GB/s here, CRIU writes memory at about 1 GB/s: to digest pages at the dump would
 * make it twice as long. So a dump takes the sizes of all files and the digests of those up to RT_MANIFEST_SMALL (metadata, a few
 * hundred KiB at most: under a millisecond); the pages' digests are taken where their bytes pass anyway, at export and
 * migration, or when somebody asks (RT_DIGEST_ALL). A restore checks sizes of all and digests of the small files always, and those of the
 * rest where asked to, or where the checkpoint comes from outside (an archive: its bytes pass anyway).
 * The digests tell damage, not malice: who can write the images can write the manifest. */
#pragma once

#include "runtime/base/error.h"
#include "proto/manifest.pb-c.h"

#define RT_MANIFEST_NAME "manifest"
#define RT_MANIFEST_FORMAT 1
#define RT_MANIFEST_SMALL (1 << 20) /* bytes */
#define RT_MANIFEST_MAX (64 << 20) /* bytes of a manifest that are believed */

enum {
	RT_DIGEST_ALL = 1 << 0, /* also files over RT_MANIFEST_SMALL */
	RT_DIGEST_NO_MEMORY = 1 << 1, /* not those with memory, which have digests elsewhere: the frames of a migration */
};

/* A new manifest with format, id, creation time, maker and cpu filled in; container (with its cgroup), options and timings are there
 * and empty, for the caller to fill. All strings and arrays in it come from malloc, as it is freed as a whole: see rt_manifest_set(),
 * rt_manifest_set_bytes() and rt_manifest_append(). */
struct rt_error *rt_manifest_new(uint32_t criu_version, Rt__Manifest **ret) _must_check_;

/* NULL is fine. */
void rt_manifest_free(Rt__Manifest *manifest);
static inline void rt_manifest_freep(Rt__Manifest **manifest)
{
	rt_manifest_free(*manifest);
}
#define _cleanup_manifest_ _cleanup_(rt_manifest_freep)

/* Replaces a string of a manifest; the copy belongs to it. NULL or "" empties it. */
struct rt_error *rt_manifest_set(char **field, const char *value) _must_check_;

/* Same for bytes. */
struct rt_error *rt_manifest_set_bytes(ProtobufCBinaryData *field, const void *bytes, size_t size) _must_check_;

/* Appends an empty message to a repeated field, which owns it:
 *	err = rt_manifest_append(&container->mounts, &container->n_mounts, &rt__mount__descriptor, &mount); */
#define rt_manifest_append(array, count, descriptor, ret) \
	rt_manifest_append_message((ProtobufCMessage ***)(array), (count), (descriptor), (ProtobufCMessage **)(ret))
struct rt_error *rt_manifest_append_message(ProtobufCMessage ***array, size_t *count, const ProtobufCMessageDescriptor *descriptor,
					    ProtobufCMessage **ret) _must_check_;
/* Same for a repeated string. */
struct rt_error *rt_manifest_append_string(char ***array, size_t *count, const char *value) _must_check_;

/* Takes the sizes and digests of all images of the directory (regular files, "*.img"). Replaces what manifest->files held. */
struct rt_error *rt_manifest_digest(int dir_fd, Rt__Manifest *manifest, unsigned flags) _must_check_;

/* Completes the digests that were left out, of files that have not changed in size since. */
struct rt_error *rt_manifest_complete(int dir_fd, Rt__Manifest *manifest) _must_check_;

/* Writes it (0600) atomically. */
struct rt_error *rt_manifest_store(int dir_fd, const Rt__Manifest *manifest) _must_check_;

/* *ret is NULL where there is none (an answer: the directory is another runtime's). Checked: the format, and every name in `files`. */
struct rt_error *rt_manifest_load(int dir_fd, Rt__Manifest **ret) _must_check_;
/* Same from memory: what an archive or another host sent. */
struct rt_error *rt_manifest_parse(const void *bytes, size_t size, Rt__Manifest **ret) _must_check_;

/* Every file the manifest names is there, a regular file, of its size and digest. RT_CONFIG names the first that is not. A file
 * the manifest does not name is an error too where CRIU would read it (*.img). */
struct rt_error *rt_manifest_verify(int dir_fd, const Rt__Manifest *manifest, unsigned flags) _must_check_;
