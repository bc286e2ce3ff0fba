// Requests out, answers in, over a channel that may break: at most `pipeline` requests are under way, each
// answer goes to its request, and what is sent again is only what may be.
//
// Over a stream answers come in the order of the requests, so a request whose successor is answered will
// never be: the server refuses its signature, source or sequence number. Over UDP each request has a time
// limit of its own.
//
// One thread; waits in poll() only.
#pragma once

#include "lib/dtcp/auth.h"
#include "lib/dtcp/framing.h"
#include "lib/file_descriptor.h"
#include "tools/dtcp/answer.h"
#include "tools/dtcp/channel.h"
#include "tools/dtcp/options.h"
#include "tools/dtcp/report.h"
#include "tools/dtcp/work.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace flowtap::tools::dtcp {

/// The request as it goes over the wire, signed.
std::string build_request(const RequestSpec& request, const std::string& csource, std::uint64_t seq,
                          lib::dtcp::Hmac& key);

class Conversation {
  public:
    using Clock = std::chrono::steady_clock;
    using Connect = std::function<std::expected<std::unique_ptr<Channel>, Problem>()>;

    /// All must outlive it.
    Conversation(const Options& options, lib::dtcp::Hmac& key, Connect connect, Work& work, Report& report);

    /// Until the work is done, or a failure that ends it, or the watch is over. What is left unsent is
    /// counted. `stop`: a descriptor whose being readable ends the watch; -1: nothing does.
    void run(int stop);

  private:
    /// A request under way.
    struct Flight {
        Job job;
        std::uint64_t seq = 0;
        std::string bytes;
        std::size_t written = 0;
        AnswerParts parts;
        Clock::time_point since;  ///< when it was sent, or something of its answer came

        bool sent() const { return written == bytes.size(); }
    };

    bool connected();
    void fetch();
    void launch();
    void write();
    bool read();
    void take_bytes(std::string_view bytes);
    void take_message(std::string_view message);
    void take_response(lib::dtcp::Response response);
    void finish(std::deque<Flight>::iterator flight, const Result& result);
    void give_up(const Job& job, const Problem& problem);
    void lost(const Problem& problem);
    Clock::time_point deadline_of(const Flight& flight) const;
    void expire();
    bool wait(int stop);
    std::optional<Clock::time_point> next_deadline() const;
    std::expected<std::uint64_t, Problem> sequence_number(const RequestSpec& request);
    bool over() const;
    bool may_repeat(const Flight& flight) const;

    const Options& options_;
    lib::dtcp::Hmac& key_;
    Connect connect_;
    Work& work_;
    Report& report_;
    std::unique_ptr<Channel> channel_;
    lib::dtcp::Splitter splitter_;
    std::deque<Job> waiting_;       ///< fetched, not under way
    std::deque<Flight> flights_;    ///< in the order that they were sent
    Clock::time_point progress_{};  ///< when something of an answer came
    std::uint64_t next_seq_ = 0;
    std::uint64_t seqs_left_ = 0;
    unsigned failures_ = 0;  ///< connections that failed since the last answer
    std::optional<Clock::time_point> connect_at_;
    std::optional<Clock::time_point> watch_until_;
    bool halted_ = false;  ///< no new request is sent
    bool stopped_ = false;
    std::size_t not_authentic_ = 0;  ///< datagrams that were no answer of the server's
};

}  // namespace flowtap::tools::dtcp
