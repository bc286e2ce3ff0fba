#include "lib/dtcp/framing.h"

namespace flowtap::lib::dtcp {

void Splitter::look_at(std::string_view part) {
    for (const char byte : part) {
        switch (line_) {
            case Line::blank:
                if (byte == '\r') {
                    line_ = Line::blank_cr;
                } else if (byte != ' ' && byte != '\t') {
                    line_ = Line::text;
                }
                break;
            case Line::blank_cr:
                line_ = Line::text;
                break;
            case Line::text:
                return;
        }
    }
}

std::expected<std::optional<std::string_view>, FramingError> Splitter::next(std::string_view& input) {
    if (failed_) {
        return std::unexpected(FramingError::too_long);
    }
    if (handed_out_) {
        kept_.clear();
        handed_out_ = false;
    }
    // [start, at) of the input belongs to the current message, after what was kept.
    std::size_t start = 0;
    std::size_t at = 0;
    bool complete = false;
    while (!complete && at < input.size()) {
        const auto line_end = input.find('\n', at);
        look_at(input.substr(at, line_end == std::string_view::npos ? line_end : line_end - at));
        if (line_end == std::string_view::npos) {
            at = input.size();
            break;
        }
        at = line_end + 1;
        const bool empty = line_ != Line::text;
        line_ = Line::blank;
        if (!empty) {
            started_ = true;
        } else if (started_) {
            complete = true;
        } else if (kept_.size() + (at - start) <= limit_) {
            kept_.clear();
            start = at;
        }
        if (kept_.size() + (at - start) > limit_) {
            break;
        }
    }
    if (kept_.size() + (at - start) > limit_) {
        failed_ = true;
        kept_.clear();
        return std::unexpected(FramingError::too_long);
    }
    const auto part = input.substr(start, at - start);
    input.remove_prefix(at);
    if (!complete) {
        kept_ += part;
        return std::nullopt;
    }
    started_ = false;
    if (kept_.empty()) {
        return part;
    }
    kept_ += part;
    handed_out_ = true;
    return kept_;
}

}  // namespace flowtap::lib::dtcp
