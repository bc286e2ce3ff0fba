// The layout of everything that crosses between control and dataplane, as text and as a digest of it.
#pragma once

#include <string>

namespace flowtap::test {

/// One line a struct, field, enumerator and region constant, with its numbers.
std::string layout_text();

/// The first 16 hexadecimal digits of the text's SHA-256.
std::string layout_digest();

}  // namespace flowtap::test
