// A listening unix stream socket with exactly the access it is meant to have, before anyone can connect.
#pragma once

#include "control/privileges.h"
#include "lib/file_descriptor.h"

#include <expected>
#include <filesystem>
#include <string>
#include <sys/types.h>

namespace flowtap::control {

/// Mode 0660, group `group`, owner `owner` (where we are root). A socket that nobody listens on any more is
/// replaced; one that is alive, or a file of another kind, is an error. Non-blocking.
std::expected<lib::FileDescriptor, Trouble> listen_unix(const std::filesystem::path& path, uid_t owner,
                                                        gid_t group);

}  // namespace flowtap::control
