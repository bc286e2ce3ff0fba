// The one way to include IPsec-MB's header: without its macros of old names, and only from .cc files.
#pragma once

#define NO_COMPAT_IMB_API_053
#include <intel-ipsec-mb.h>
