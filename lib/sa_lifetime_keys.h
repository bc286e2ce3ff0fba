// The lifetimes in an SA file: `soft-lifetime-seconds = 3600` and the like. Private to lib/sa_file.cc.
#pragma once

#include "lib/sa_lifetime.h"

#include <toml++/toml.h>

#include <functional>
#include <string>
#include <vector>

namespace flowtap::lib {

/// The names of all six keys.
std::vector<std::string> lifetime_keys();

/// What the file says, completed (sa_lifetime.h). `complain` is told of each value that is no lifetime: it
/// has to be at least 1, a hard one within `longest`, a soft one below the hard one.
SaLifetimes read_lifetimes(const toml::table& table, const LifeSpan& longest,
                           const std::function<void(const toml::source_position&, std::string)>& complain);

}  // namespace flowtap::lib
