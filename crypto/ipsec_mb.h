// The one way to include IPsec-MB's header, and only from .cc files: without its macros of old names, and
// with LINUX defined, which is what its build was made with. Without it gcm_key_data loses the 64-byte
// alignment that the library's SSE code stores to.
#pragma once

#define NO_COMPAT_IMB_API_053
#define LINUX
#include <intel-ipsec-mb.h>
#undef LINUX

static_assert(alignof(gcm_key_data) == 64);
