// The answers of control as tables for a person: aligned columns, units, thousands set apart.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace flowtap::tools {

/// "1,234,567"
std::string thousands(std::uint64_t number);
/// "3 d 4 h", "2 h 5 min", "7 min 2 s", "12 s"
std::string duration(std::uint64_t seconds);

/// The view of that name (grammar.h); members that are missing are left out, never an error.
std::string render(std::string_view view, const nlohmann::json& content);

}  // namespace flowtap::tools
