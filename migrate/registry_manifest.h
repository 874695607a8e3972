/* The manifest of a snapshot in a registry: an OCI image manifest (1.1) whose config is the snapshot's index and whose layers are its bundles. Pure. */
#pragma once

#include "migrate/registry_bundle.h"

#define RT_REGISTRY_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define RT_REGISTRY_ARTIFACT "application/vnd.rt.snapshot.v1"
#define RT_REGISTRY_INDEX "application/vnd.rt.snapshot.index.v1"
#define RT_REGISTRY_CHUNKS "application/vnd.rt.snapshot.chunks.v1"
#define RT_REGISTRY_MANIFEST_MAX (4u << 20) /* what registries take at least */

struct rt_registry_blob {
	char digest[80]; /* "sha256:..." */
	uint64_t size;
};

struct rt_registry_manifest {
	struct rt_registry_blob index;
	struct rt_registry_blob *bundles; /* owned */
	size_t count;
	unsigned bits; /* of registry_bundle.h */
	char *name, *created; /* owned: what the snapshot is called, when it was made; for people, may be NULL of other makers */
};
void rt_registry_manifest_deinit(struct rt_registry_manifest *manifest);

/* *ret is the caller's. Fails where it would be larger than registries take. */
struct rt_error *rt_registry_manifest_write(const struct rt_registry_manifest *manifest, char **ret) _must_check_;

/* RT_CONFIG says what is wrong with it. Sizes are bounded by what the index and a bundle may have. */
struct rt_error *rt_registry_manifest_read(const char *text, size_t size, struct rt_registry_manifest *ret) _must_check_;

/* "sha256:" and the digest as text. */
void rt_registry_digest_text(const uint8_t digest[SHA256_DIGEST_SIZE], char text[80]);
void rt_registry_digest_bytes(const void *bytes, size_t size, char text[80]);
