// The test that every engine passes before it may touch a packet.
#pragma once

#include <expected>
#include <string>

struct IMB_MGR;

namespace flowtap::crypto {

/// Encrypts and decrypts published and precomputed cases of every suite: short ones and such that reach the
/// widest loops of the library, and in all of its lanes. The error names the first case that came out wrong,
/// with its suite.
std::expected<void, std::string> verify_known_answers(IMB_MGR& manager);

}  // namespace flowtap::crypto
