// The reference of the configuration file, written from the schema that reads it.
#pragma once

#include <string>

namespace flowtap::lib {

/// Markdown: docs/configuration.md is this text, and a test holds it to it.
std::string configuration_reference();

}  // namespace flowtap::lib
