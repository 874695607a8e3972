/* Readers of CRIU's image files.
 *
 * Images are untrusted input: names are opened below the directory without following symlinks, only regular files are read,
 * lengths are checked against the file before memory is asked for, and messages go through rt_unpack(). Every error names the
 * file. Writes nothing. */
#pragma once

#include "runtime/base/error.h"
#include "checkpoint/unpack.h"
#include "proto/criu_images.pb-c.h"

#include <stdint.h>
#include <sys/types.h>

enum rt_image_kind {
	RT_IMAGE_INVENTORY, /* Img__Inventory */
	RT_IMAGE_PSTREE, /* Img__Process... */
	RT_IMAGE_CORE, /* Img__Core */
	RT_IMAGE_IDS, /* Img__KernelIds */
	RT_IMAGE_MM, /* Img__AddressSpace */
	RT_IMAGE_PAGEMAP, /* Img__PagemapHead, Img__PagemapEntry... */
	RT_IMAGE_FDINFO, /* Img__Descriptor... */
	RT_IMAGE_FILES, /* Img__File... */
	RT_IMAGE_FS, /* Img__Fs */
	RT_IMAGE_TTY_INFO, /* Img__TtyInfo... */
	RT_IMAGE_TCP_STREAM, /* Img__TcpStream, then raw bytes */
	RT_IMAGE_REMAP_FPATH, /* Img__RemapPath... */
	RT_IMAGE_GHOST_FILE, /* Img__GhostFile, then raw bytes */
	RT_IMAGE_MOUNTPOINTS, /* Img__MountPoint... */
	RT_IMAGE_NETDEV, /* Img__NetDevice... */
	RT_IMAGE_NETNS, /* Img__NetNamespace */
	RT_IMAGE_UTSNS, /* Img__UtsNamespace */
	RT_IMAGE_TIMENS, /* Img__TimeNamespace */
	RT_IMAGE_USERNS, /* Img__UserNamespace */
	RT_IMAGE_SECCOMP, /* Img__Seccomp */
	RT_IMAGE_CGROUP, /* Img__Cgroups */
	RT_IMAGE_FILELOCKS, /* Img__FileLock... */
	RT_IMAGE_STATS, /* Img__Stats */
	RT_IMAGE_KINDS,
};

struct rt_image; /* one open image file; rt_image_close() */

/* Opens and checks the magic numbers. *ret is NULL where there is no such file (an answer). */
struct rt_error *rt_image_open(int dir_fd, const char *name, enum rt_image_kind kind, struct rt_image **ret) _must_check_;
void rt_image_close(struct rt_image *image);
static inline void rt_image_closep(struct rt_image **image)
{
	rt_image_close(*image);
}
#define _cleanup_image_ _cleanup_(rt_image_closep)

/* The numbers that a file of this kind begins with; returns how many. */
size_t rt_image_magic(enum rt_image_kind kind, uint32_t ret[2]);

/* The next entry; *ret is NULL at the end, and freed by rt_unpack_free(). The first entry of a pagemap is its head. */
struct rt_error *rt_image_next(struct rt_image *image, ProtobufCMessage **ret) _must_check_;

/* For images of one entry: *ret is NULL where there is no such file; freed by rt_unpack_free(). A file without an entry is an error. */
struct rt_error *rt_image_read_one(int dir_fd, const char *name, enum rt_image_kind kind, ProtobufCMessage **ret) _must_check_;

/* Calls `each` for all entries; stops at its first error. No file: no call. The message is freed after the call. */
typedef struct rt_error *(*rt_image_fn)(void *userdata, const ProtobufCMessage *entry);
struct rt_error *rt_image_each(int dir_fd, const char *name, enum rt_image_kind kind, rt_image_fn each, void *userdata) _must_check_;

/* Same from memory, for tests and the fuzzer; `name` is for messages. The bytes must outlive the image. */
struct rt_error *rt_image_from_bytes(const void *bytes, size_t size, const char *name, enum rt_image_kind kind,
				     struct rt_image **ret) _must_check_;

/* Calls `each` with the names of all files of a kind; stops at its first error. */
typedef struct rt_error *(*rt_image_name_fn)(void *userdata, const char *name);
struct rt_error *rt_image_names(int dir_fd, enum rt_image_kind kind, rt_image_name_fn each, void *userdata) _must_check_;

/* The kind and, where the name has a number ("core-12.img", "tcp-stream-1f.img"), the number, from the name of a file. False: none of
 * the kinds above. */
bool rt_image_kind_of(const char *name, enum rt_image_kind *ret, uint64_t *ret_number);

/* Flags of a pagemap entry. LAZY alone: to be fetched from elsewhere; with PRESENT: in pages-ID.img, and may be fetched late. */
enum { RT_ENTRY_IN_PARENT = 1 << 0, RT_ENTRY_LAZY = 1 << 1, RT_ENTRY_PRESENT = 1 << 2 };

/* Pages a pagemap entry covers, whichever release wrote it. */
uint64_t rt_pagemap_pages(const Img__PagemapEntry *entry);

/* The inventory must be there and of a version we know (1 or 2): the first look at a directory, before CRIU gets it. The caller frees
 * *ret by rt_unpack_free(). */
struct rt_error *rt_images_inventory(int dir_fd, Img__Inventory **ret) _must_check_;
