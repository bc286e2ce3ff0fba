// Reading one TOML document: where things stand, what was wrong. Private to lib/config*.cc.
#pragma once

#include "lib/config.h"

#include <toml++/toml.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flowtap::lib {

/// Collects the errors of a file, and remembers where its elements stand. Thread safety: as of a plain value.
class ConfigReader {
  public:
    /// Paths in the file are relative to `folder`.
    ConfigReader(std::string file, std::filesystem::path folder)
        : file_(std::move(file)), folder_(std::move(folder)) {}

    void error(const toml::source_region& where, std::string message);
    /// The same at a value, which then is not good().
    void error(const toml::node& value, std::string message);
    /// An error of the file as a whole.
    void error(std::string message);

    std::filesystem::path resolve(std::string_view path) const { return folder_ / path; }

    /// Declares the next element of a section; elements of a section count from 0.
    void add_element(std::string_view section, const toml::table& element);

    /// The value of a key in a section's element, if it is there and no error was found in it.
    const toml::node* good(std::string_view section, std::size_t index, std::string_view key) const;
    /// The key is there, whatever is wrong with its value.
    bool there(std::string_view section, std::size_t index, std::string_view key) const;
    /// Where a key stands; where its element begins, if it is not there.
    const toml::source_region& where(std::string_view section, std::size_t index, std::string_view key) const;

    const std::string& file() const { return file_; }
    /// Names of the ports and tunnels read so far, for values that refer to them.
    std::vector<std::string> ports;
    std::vector<std::string> tunnels;

    /// All errors, in the order of the file.
    std::vector<ConfigError> take_errors();

  private:
    const toml::table* element(std::string_view section, std::size_t index) const;

    std::string file_;
    std::filesystem::path folder_;
    std::vector<ConfigError> errors_;
    std::set<const toml::node*> bad_;
    std::map<std::string_view, std::vector<const toml::table*>> elements_;  ///< keys live in the schema
};

/// "line 12", for a message about another place in the file.
std::string line_text(const toml::source_region& where);

/// What a value is, for a message: `the string "x"`, `the number 5`, `a list`.
std::string describe(const toml::node& value);

/// The error for a key that is not among `allowed`: it names the nearest one, if one is near, and all of
/// them.
std::string unknown_key_message(std::string_view key, const std::vector<std::string_view>& allowed,
                                std::string_view where);

/// "a, b and c"
std::string list_text(const std::vector<std::string>& items);

}  // namespace flowtap::lib
