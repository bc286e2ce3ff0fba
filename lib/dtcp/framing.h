// Splits the byte stream of an SSH channel into DTCP messages.
//
// A message is everything up to and including the first empty line: a line of nothing but spaces and tabs
// counts as empty, since white space before a line end is ignored. Lines end in LF, with or without CR before
// it. Empty lines before a message belong to no message and are skipped, however many; one that is longer
// than the limit is an error like a message.
//
// Each byte is looked at once, whatever the chunking, and no more than one message of at most the limit is
// kept. Not thread-safe; owned by its session.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace flowtap::lib::dtcp {

/// Bytes of a request, its empty line included (dtcp.md section 1).
inline constexpr std::size_t max_message = std::size_t{64} * 1024;

enum class FramingError : std::uint8_t {
    too_long,  ///< a message that is longer than the limit: a server answers 400 and closes
};

class Splitter {
  public:
    /// `limit`: bytes of the longest message; a client reads LIST answers with a larger one.
    explicit Splitter(std::size_t limit = max_message) : limit_{limit} {}

    /// Takes the next whole message, removing from the front of `input` what it used; call it until it gives
    /// nothing. Nothing: the input is used up and the part of a message in it has been kept. The view points
    /// into `input`'s bytes or into the splitter: it is good until the next call, or until the bytes behind
    /// `input` go. After an error every later call gives the same error: where the next message starts is no
    /// longer known.
    std::expected<std::optional<std::string_view>, FramingError> next(std::string_view& input);

    /// Bytes kept of a message that has not ended; at most the limit.
    std::size_t pending() const { return handed_out_ ? 0 : kept_.size(); }

  private:
    /// What the current line holds so far.
    enum class Line : std::uint8_t { blank, blank_cr, text };

    /// Part of one line, without its LF.
    void look_at(std::string_view part);

    std::size_t limit_;
    std::string kept_;
    Line line_ = Line::blank;
    bool started_ = false;     ///< a line with text has been seen
    bool handed_out_ = false;  ///< kept_ is what the last call returned
    bool failed_ = false;
};

}  // namespace flowtap::lib::dtcp
