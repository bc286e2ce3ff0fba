// The test that every engine passes before it may touch a packet.
#pragma once

#include <expected>
#include <string>

struct IMB_MGR;

namespace flowtap::crypto {

/// Encrypts and decrypts published and precomputed AES-256-GCM cases, short ones and such that reach the
/// widest loops of the library. The error names the first case that came out wrong.
std::expected<void, std::string> verify_known_answers(IMB_MGR& manager);

}  // namespace flowtap::crypto
