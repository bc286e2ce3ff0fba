// The control sources: who may ask, under which key, speaking as which account.
#pragma once

#include "lib/config.h"
#include "lib/dtcp/auth.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::control {

/// Place in the configuration's [[source]] list. It stands for the source in logs: its name is an identity.
enum class SourceIndex : std::uint32_t {};

struct Source {
    SourceIndex index{};
    const lib::SourceConfig* config = nullptr;
    lib::dtcp::Hmac key;
};

/// Not thread-safe: the keys' state is used by every signature.
class Sources {
  public:
    /// Reads every key file. Errors, one a source, name the file and what would be right. `config` must
    /// outlive the result.
    static std::expected<Sources, std::vector<std::string>> load(const lib::Config& config);

    /// The same with keys at hand, one a source of `config`, in order.
    static std::expected<Sources, std::vector<std::string>> with_keys(const lib::Config& config,
                                                                      const std::vector<std::string>& keys);

    /// By Csource-ID; nullptr: there is none.
    Source* find(std::string_view csource_id);
    Source& at(SourceIndex index) { return sources_[static_cast<std::size_t>(index)]; }
    const Source& at(SourceIndex index) const { return sources_[static_cast<std::size_t>(index)]; }
    std::size_t size() const { return sources_.size(); }

    /// The account may speak as the source.
    static bool may_speak(const Source& source, std::string_view user);

  private:
    std::vector<Source> sources_;
    std::map<std::string, SourceIndex, std::less<>> by_name_;
};

}  // namespace flowtap::control
