// One DTCP session: what came in and is not answered, what is answered and not sent, both bounded.
#pragma once

#include "control/list_answer.h"
#include "control/sources.h"
#include "control/tasking.h"
#include "lib/address.h"
#include "lib/dtcp/framing.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>

namespace flowtap::control {

enum class SessionId : std::uint64_t {};

/// Who is at the other end, as the transport knows it.
struct Peer {
    std::string user;  ///< account, as the kernel says
    lib::IpAddress address{lib::Family::ipv4, {127, 0, 0, 1}};
    /// A datagram's sender, which has proven to be this source and is no other. Its answers are datagrams.
    std::optional<SourceIndex> proven = std::nullopt;
};

/// A change of taps that the dataplane has not confirmed yet.
struct ChangeAnswer {
    OperationId operation{};
    lib::dtcp::Method method = lib::dtcp::Method::add;
    lib::dtcp::Version version;
    std::uint64_t seq = 0;
    Source* source = nullptr;
};

/// In the order of the requests; text is ready to be sent.
using Answer = std::variant<std::string, ChangeAnswer, std::unique_ptr<ListAnswer>>;

struct Session {
    /// A session is not read while it has more unsent output or more open requests than this.
    static constexpr std::size_t output_limit = std::size_t{1} << 20;
    static constexpr std::size_t answer_limit = 4096;
    /// From so many messages in a row that are not authentic on, each is followed by a pause: a second, then
    /// twice as long each time.
    static constexpr unsigned failures_allowed = 3;
    static constexpr std::uint64_t longest_pause = 32 * nanoseconds_per_second;
    static constexpr std::size_t notice_limit = 256;
    /// Bytes of a LIST message in a datagram (dtcp.md section 8).
    static constexpr std::size_t datagram_limit = 1400;
    /// A client that takes none of its output for as long is dropped.
    static constexpr std::uint64_t stall_limit = 30 * nanoseconds_per_second;

    Peer peer;
    lib::dtcp::Splitter splitter;
    std::string input;  ///< received, not split yet
    std::size_t input_used = 0;
    std::string blocked;    ///< a message that waits for its turn; empty: none does
    bool accepted = false;  ///< its sequence number was taken, and its source's pace allowed it
    std::uint64_t accepted_at = 0;
    std::deque<Answer> answers;
    std::size_t additions = 0;  ///< ChangeAnswers in answers
    std::size_t removals = 0;
    std::size_t updates = 0;
    std::string output;
    std::size_t output_sent = 0;
    std::uint64_t progress = 0;  ///< CLOCK_BOOTTIME: when output was taken last, or began to wait
    Source* last_source = nullptr;
    std::map<SourceIndex, std::uint64_t> sequence;  ///< the last number, where the source's is enforced
    unsigned failures = 0;                          ///< messages in a row that were not authentic
    std::optional<std::uint64_t> paused_until;      ///< CLOCK_BOOTTIME: nothing is read before
    bool delayed = false;                           ///< the message that waits has been counted as delayed
    std::set<SourceIndex> spoken;                   ///< sources that the client has proven to be
    std::deque<std::string> notices;                ///< notifications that wait until nothing else does
    bool noticing = false;  ///< what is in output is a notification: nobody has asked for it
    bool input_ended = false;
    bool closing = false;  ///< no more input is looked at
    bool dropped = false;  ///< no more output either

    std::size_t unsent() const { return output.size() - output_sent; }
};

}  // namespace flowtap::control
