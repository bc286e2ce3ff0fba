#include "tools/dtcp/conversation.h"

#include "lib/dtcp/request_builder.h"
#include "lib/dtcp/response_reader.h"
#include "tools/dtcp/sequence.h"
#include "tools/dtcp/udp_channel.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <poll.h>
#include <utility>
#include <vector>

namespace flowtap::tools::dtcp {
namespace {

using lib::dtcp::Response;

// A LIST of a million taps is some 500 MB.
constexpr std::size_t largest_answer = std::size_t{1} << 30U;
constexpr std::uint64_t largest_lease = 64;
constexpr std::chrono::milliseconds longest_delay{60'000};

}  // namespace

std::string build_request(const RequestSpec& request, const std::string& csource, std::uint64_t seq,
                          lib::dtcp::Hmac& key) {
    lib::dtcp::RequestBuilder builder(request.method, request.version);
    for (const auto& [name, value] : request.parameters) {
        builder.add(std::string_view{name}, value);
    }
    return std::move(builder).sign(csource, seq, key);
}

Conversation::Conversation(const Options& options, lib::dtcp::Hmac& key, Connect connect, Work& work,
                           Report& report)
    : options_{options},
      key_{key},
      connect_{std::move(connect)},
      work_{work},
      report_{report},
      splitter_{largest_answer} {}

bool Conversation::over() const {
    const bool idle = flights_.empty() && (halted_ || (waiting_.empty() && work_.ended()));
    return stopped_ || (idle && (halted_ || !options_.watch));
}

void Conversation::run(int stop) {
    while (!over()) {
        fetch();
        const bool watching = options_.watch && flights_.empty() && waiting_.empty() && work_.ended();
        if (watching && !watch_until_ && options_.watch_time) {
            watch_until_ = Clock::now() + *options_.watch_time;
        }
        // A session's line is there at once when the first request is typed.
        const bool wanted = !waiting_.empty() || watching || options_.mode == Mode::session;
        if (!halted_ && wanted && !connected() && !connect_at_) {
            continue;
        }
        launch();
        if (channel_) {
            write();
        }
        if (channel_ && read()) {
            continue;
        }
        expire();
        if (!over() && !wait(stop)) {
            break;
        }
    }
    report_.count_not_sent(waiting_.size());
    while (work_.next()) {
        report_.count_not_sent(1);
    }
}

/// One try, when it is time for one; whether there is a channel. After the last failure nothing is sent any
/// more.
bool Conversation::connected() {
    if (channel_ || (connect_at_ && Clock::now() < *connect_at_)) {
        return channel_ != nullptr;
    }
    connect_at_.reset();
    auto channel = connect_();
    if (channel) {
        channel_ = std::move(*channel);
        splitter_ = lib::dtcp::Splitter(largest_answer);
        return true;
    }
    lost(channel.error());
    return false;
}

void Conversation::fetch() {
    while (!halted_ && flights_.size() + waiting_.size() < options_.pipeline) {
        auto job = work_.next();
        if (!job) {
            break;
        }
        waiting_.push_back(std::move(*job));
    }
}

std::expected<std::uint64_t, Problem> Conversation::sequence_number(const RequestSpec& request) {
    if (request.seq) {
        return *request.seq;
    }
    if (seqs_left_ == 0) {
        const auto lease = std::min<std::uint64_t>(
            largest_lease, std::max<std::uint64_t>(waiting_.size() + work_.ready(), 1));
        const auto first = take_sequence_numbers(options_.state_directory, options_.csource, lease);
        if (!first) {
            return std::unexpected(first.error());
        }
        next_seq_ = *first;
        seqs_left_ = lease;
    }
    --seqs_left_;
    return next_seq_++;
}

void Conversation::launch() {
    while (channel_ && !halted_ && !waiting_.empty() && flights_.size() < options_.pipeline) {
        auto job = std::move(waiting_.front());
        waiting_.pop_front();
        // Taken last: a number is used up only by a request that is sent.
        const auto seq = sequence_number(job.request);
        if (!seq) {
            give_up(job, seq.error());
            halted_ = true;
            return;
        }
        auto bytes = build_request(job.request, options_.csource, *seq, key_);
        if (!channel_->is_stream() && bytes.size() > UdpChannel::largest) {
            give_up(job,
                    {Outcome::arguments, fmt::format("the request has {} bytes, a UDP datagram at most {}",
                                                     bytes.size(), UdpChannel::largest)});
            continue;
        }
        const auto method = job.request.method;
        flights_.push_back({.job = std::move(job),
                            .seq = *seq,
                            .bytes = std::move(bytes),
                            .parts = AnswerParts{method},
                            .since = Clock::now()});
    }
}

void Conversation::write() {
    for (auto& flight : flights_) {
        while (!flight.sent()) {
            const auto taken = channel_->write(std::string_view{flight.bytes}.substr(flight.written));
            if (!taken) {
                lost(taken.error());
                return;
            }
            if (*taken == 0) {
                return;
            }
            flight.written += *taken;
            flight.since = Clock::now();
        }
    }
}

/// Whether there was something to read.
bool Conversation::read() {
    auto received = channel_->read();
    if (!received) {
        lost(received.error());
        return true;
    }
    if (received->ended) {
        lost(channel_->end_reason());
        return true;
    }
    if (received->bytes.empty()) {
        return false;
    }
    if (!channel_->is_stream()) {
        splitter_ =
            lib::dtcp::Splitter(UdpChannel::largest);  // half a message is no reason to misread the next
    }
    const bool stream = channel_->is_stream();
    take_bytes(received->bytes);
    if (!stream && splitter_.pending() != 0) {
        ++not_authentic_;  // not even a whole message
    }
    return true;
}

void Conversation::take_bytes(std::string_view bytes) {
    while (channel_) {
        const auto split = splitter_.next(bytes);
        if (!split) {
            lost({Outcome::not_authentic, "the answer is longer than any DTCP answer"});
            return;
        }
        const std::optional<std::string_view> message = *split;
        if (!message) {
            return;
        }
        take_message(*message);
    }
}

void Conversation::take_message(std::string_view message) {
    auto response = read_response(message, key_);
    if (response) {
        take_response(std::move(*response));
    } else if (channel_->is_stream()) {
        lost({Outcome::not_authentic, fmt::format("the answer is not authentic: {}", response.error())});
    } else {
        ++not_authentic_;  // anyone can send a datagram
    }
}

void Conversation::take_response(Response response) {
    if (is_notification(response)) {
        report_.notification(std::move(response));
        return;
    }
    const auto seq = response.seq();
    auto flight = flights_.begin();
    if (seq) {
        flight = std::ranges::find_if(flights_,
                                      [&](const Flight& one) { return one.seq == *seq && one.written != 0; });
    } else if (response.code < 300) {
        return;  // a success has a Seq
    }
    if (flight == flights_.end()) {
        return;
    }
    progress_ = Clock::now();
    flight->since = progress_;
    const auto answer = flight->parts.add(std::move(response));
    if (!answer) {
        return;
    }
    failures_ = 0;
    if (channel_->is_stream()) {
        while (flight != flights_.begin()) {
            finish(flights_.begin(),
                   std::unexpected(
                       Problem{Outcome::no_answer,
                               "no answer came though a later request has one: the server refuses this "
                               "one's key, sequence number or control source"}));
            flight = std::ranges::find_if(flights_, [&](const Flight& one) { return one.seq == *seq; });
        }
    }
    finish(flight, *answer);
}

void Conversation::finish(std::deque<Flight>::iterator flight, const Result& result) {
    const auto job = std::move(flight->job);
    flights_.erase(flight);
    report_.result(job, result);
    halted_ = halted_ || (options_.mode != Mode::session && !options_.keep_going && report_.failed());
}

void Conversation::give_up(const Job& job, const Problem& problem) {
    report_.result(job, std::unexpected(problem));
    halted_ = halted_ || (options_.mode != Mode::session && !options_.keep_going);
}

bool Conversation::may_repeat(const Flight& flight) const {
    return !flight.sent() || is_safe(flight.job.request.method);
}

/// The channel is of no use any more, or there is none. What may be sent again waits, as long as there are
/// retries.
void Conversation::lost(const Problem& problem) {
    channel_.reset();
    const bool passing = problem.outcome == Outcome::no_connection || problem.outcome == Outcome::no_answer;
    const bool again = passing && failures_ < options_.retries && !halted_;
    // Where nobody serves DTCP nothing was carried out.
    const bool untouched = problem.outcome == Outcome::no_connection;
    bool told = false;
    std::deque<Job> waiting;
    for (auto flights = std::exchange(flights_, {}); auto& flight : flights) {
        if ((again && !halted_ && (untouched || may_repeat(flight))) || (halted_ && flight.written == 0)) {
            ++flight.job.repeats;
            waiting.push_back(std::move(flight.job));
        } else {
            give_up(flight.job, problem);
            told = true;
        }
    }
    waiting_.insert(waiting_.begin(), std::move_iterator(waiting.begin()), std::move_iterator(waiting.end()));
    if (again && !halted_) {
        const auto delay = std::min(longest_delay, options_.retry_delay * (1U << std::min(failures_, 12U)));
        connect_at_ = Clock::now() + delay;
        ++failures_;
        report_.remark({problem.outcome, fmt::format("{}; connecting again in {} s", problem.message,
                                                     static_cast<double>(delay.count()) / 1000)});
        return;
    }
    if (!told && !halted_) {
        if (waiting_.empty()) {
            report_.fail(problem);
        } else {
            // Nothing of any of them was sent; the first one stands for all.
            report_.result(waiting_.front(), std::unexpected(problem));
            waiting_.pop_front();
        }
    }
    halted_ = true;
}

Conversation::Clock::time_point Conversation::deadline_of(const Flight& flight) const {
    // In a stream answers come one after the other: time runs for the first one, from the answer before it.
    return (channel_ && channel_->is_stream() ? std::max(flight.since, progress_) : flight.since) +
           options_.answer_patience;
}

void Conversation::expire() {
    const auto now = Clock::now();
    while (channel_ && !flights_.empty()) {
        const auto late =
            std::ranges::find_if(flights_, [&](const Flight& flight) { return now >= deadline_of(flight); });
        if (late == flights_.end() || (channel_->is_stream() && late != flights_.begin())) {
            return;
        }
        const Problem problem{
            Outcome::no_answer,
            not_authentic_ == 0
                ? "no answer came; a server never answers a wrong key, sequence number or control source"
                : fmt::format("no answer came, but {} datagrams that are not authentic", not_authentic_)};
        if (channel_->is_stream()) {
            lost(problem);
        } else if (late->job.repeats < options_.retries && may_repeat(*late)) {
            ++late->job.repeats;
            waiting_.push_back(std::move(late->job));
            flights_.erase(late);
            return;
        } else {
            finish(late, std::unexpected(problem));
        }
    }
}

std::optional<Conversation::Clock::time_point> Conversation::next_deadline() const {
    std::optional<Clock::time_point> next = connect_at_;
    const auto consider = [&next](Clock::time_point time) { next = next ? std::min(*next, time) : time; };
    for (const auto& flight : flights_) {
        consider(deadline_of(flight));
        if (channel_ && channel_->is_stream()) {
            break;
        }
    }
    if (watch_until_) {
        consider(*watch_until_);
    }
    return next;
}

/// Until something may have changed. False: the watch is over.
bool Conversation::wait(int stop) {
    const auto now = Clock::now();
    if (watch_until_ && now >= *watch_until_) {
        return false;
    }
    const bool more_to_write =
        std::ranges::any_of(flights_, [](const Flight& flight) { return !flight.sent(); });
    const bool more_work = !halted_ && flights_.size() + waiting_.size() < options_.pipeline;
    std::array<pollfd, 3> events{{
        {channel_ ? channel_->descriptor() : -1,
         channel_ ? channel_->events(more_to_write) : static_cast<short>(0), 0},
        {more_work ? work_.descriptor() : -1, POLLIN, 0},
        {stop, POLLIN, 0},
    }};
    int timeout = -1;
    if (const auto deadline = next_deadline()) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - now);
        timeout = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
    }
    if (!waiting_.empty() && channel_ && !halted_ && flights_.size() < options_.pipeline) {
        timeout = 0;
    }
    if (::poll(events.data(), events.size(), timeout) < 0 && errno != EINTR) {
        report_.fail({Outcome::local, "poll() fails"});
        return false;
    }
    if (events[1].revents != 0) {
        work_.read_more();
        for (const auto& error : work_.take_errors()) {
            report_.line_error(error);
        }
    }
    stopped_ = events[2].revents != 0;
    return true;
}

}  // namespace flowtap::tools::dtcp
