// A DTCP request as text: request line and parameters, checked for form, not yet for meaning.
//
// parse_request() always gives a Request, with the first thing wrong in failure(): a message must be
// authenticated before it is answered, an ill-formed one too, and what came through of it (Csource-ID,
// Authentication-Info) is enough for that. The order for a server is: parse_request, parse_envelope, key of
// the Csource-ID, Hmac::verify (497, 498, 499: no answer at all), and only then failure() or one of the typed
// requests, which give it too.
//
// A Request is views into the caller's bytes, which must outlive it; parsing allocates nothing.
#pragma once

#include "lib/dtcp/code.h"
#include "lib/dtcp/name.h"

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace flowtap::lib::dtcp {

/// Parameter lines of one message, ignored and repeated ones included; more is 400.
inline constexpr std::size_t max_parameters = 64;
/// Bytes of an identifier (Csource-ID, Cdest-ID, names of policies, VRFs and interfaces); more is 400.
inline constexpr std::size_t max_identifier = 255;

struct Version {
    std::uint16_t major = 0;
    std::uint16_t minor = 7;

    auto operator<=>(const Version&) const = default;
};

inline constexpr Version version_0_5{0, 5};
inline constexpr Version version_0_6{0, 6};
inline constexpr Version version_0_7{0, 7};
inline constexpr Version version_0_8{0, 8};

/// "DTCP/0.7"
std::string to_string(Version version);

/// The version to answer in: the request's own, or the nearest that we speak (dtcp.md section 4).
constexpr Version reply_version(Version version) {
    return version < version_0_5 ? version_0_5 : version > version_0_8 ? version_0_8 : version;
}

enum class Method : std::uint8_t { add, delete_, refresh, list, noop, enable, disable, unknown };

/// "ADD"; "" for unknown.
std::string_view to_string(Method method);

/// Why a request cannot be done.
struct Failure {
    Code code = Code::bad_request;
    std::string line{};  ///< the offending line as it came, without its line end; empty: no single line is
    std::string_view reason{};  ///< for logs: fixed text that holds nothing of the message
};

/// Views into the message.
struct Parameter {
    Name id = Name::unknown;
    std::string_view name;   ///< as given
    std::string_view value;  ///< without white space around it, escapes as they came (see escape.h)
    std::string_view line;   ///< as it came, without the line end
};

class Request {
  public:
    Method method() const { return method_; }
    std::string_view method_text() const { return method_text_; }  ///< as given; empty where unreadable
    Version version() const { return version_; }  ///< 0.7 where the request line is unreadable
    std::string_view request_line() const { return request_line_; }

    /// In the order given, Authentication-Info excluded, and nothing that follows it.
    std::span<const Parameter> parameters() const { return {parameters_.data(), count_}; }

    /// The first of that name, or nullptr.
    const Parameter* find(Name name) const {
        const auto place = first_[static_cast<std::size_t>(name)];
        return place == absent ? nullptr : &parameters_[place];
    }
    /// The first of that name regardless of case, unknown names too, or nullptr.
    const Parameter* find(std::string_view name) const;

    /// The bytes that Authentication-Info covers: all before its line, or all where there is none.
    std::string_view signed_bytes() const { return signed_bytes_; }
    /// Nothing: the message has no Authentication-Info (497).
    std::optional<std::string_view> authentication_info() const { return authentication_info_; }

    /// X- parameters that were ignored (dtcp.md section 2), to be counted and logged.
    std::size_t ignored() const { return ignored_; }

    /// The first thing wrong: 505 before 400 before 501; nothing: well-formed, and every parameter is one
    /// that the method takes.
    const std::optional<Failure>& failure() const { return failure_; }

  private:
    friend class RequestParser;
    static constexpr std::uint8_t absent = 0xff;

    static constexpr std::array<std::uint8_t, name_count + 1> none_found() {
        std::array<std::uint8_t, name_count + 1> places{};
        places.fill(absent);
        return places;
    }

    Method method_ = Method::unknown;
    Version version_;
    std::size_t count_ = 0;
    std::size_t ignored_ = 0;
    std::string_view method_text_;
    std::string_view request_line_;
    std::string_view signed_bytes_;
    std::optional<std::string_view> authentication_info_;
    std::optional<Failure> failure_;
    std::array<std::uint8_t, name_count + 1> first_ = none_found();  ///< place in parameters_, by Name
    std::array<Parameter, max_parameters> parameters_;
};

/// `raw`: one message with its empty line, as Splitter gives it or as a datagram holds it (what follows the
/// empty line is ignored). Longer than max_message: 400, and nothing of it is read.
Request parse_request(std::string_view raw);

/// What every request carries.
struct Envelope {
    std::string csource_id;
    std::uint64_t seq = 0;
};

/// Looks at no other parameter, and not at failure(). 400 with the line, or with none where the parameter is
/// missing.
std::expected<Envelope, Failure> parse_envelope(const Request& request);

}  // namespace flowtap::lib::dtcp
