#include "control/service.h"

#include "lib/dtcp/escape.h"
#include "lib/dtcp/response.h"

#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>

namespace flowtap::control {

namespace {

using lib::dtcp::Code;
using lib::dtcp::Failure;
using lib::dtcp::Method;
using lib::dtcp::Name;
using lib::dtcp::Request;

/// Sequence numbers grow by this much at most (dtcp.md section 3, the positive window).
constexpr std::uint64_t sequence_window = 256;
/// Only a number whose top byte is all ones may be followed by one that has wrapped past zero.
constexpr std::uint64_t last_before_wrap = std::uint64_t{0xff} << 56;

}  // namespace

Service::Service(const lib::Config& config, Sources& sources, CriteriaIds& ids, Tasking& tasking)
    : config_{config}, sources_{sources}, ids_{ids}, tasking_{tasking}, paces_(sources.size()) {}

SessionId Service::open(Peer peer) {
    const auto id = SessionId{next_session_++};
    sessions_[id].peer = std::move(peer);
    counters_.add(ServiceCounter::sessions);
    return id;
}

SessionId Service::open_datagram(Peer peer, std::string_view message, Now now) {
    const auto id = SessionId{next_session_++};
    auto& session = sessions_[id];
    session.peer = std::move(peer);
    session.input_ended = true;
    if (handle(id, session, message, now) == Progress::blocked) {
        session.blocked = message;
    }
    flush(id, session, now);
    return id;
}

void Service::notify(SourceIndex source, const std::string& text, Now now) {
    for (auto& [id, session] : sessions_) {
        if (!session.spoken.contains(source) || session.peer.proven || session.closing ||
            session.input_ended || session.dropped) {
            continue;
        }
        if (session.notices.size() >= Session::notice_limit) {
            counters_.add(ServiceCounter::notifications_dropped);
            continue;
        }
        session.notices.push_back(text);
        flush(id, session, now);
    }
}

void Service::close(SessionId id) {
    sessions_.erase(id);
    listing_.erase(id);
    touched_.erase(id);
}

void Service::receive(SessionId id, std::string_view bytes, Now now) {
    auto& session = sessions_.at(id);
    if (session.closing || session.dropped) {
        return;
    }
    session.input.append(bytes);
    process(id, session, now);
}

void Service::end_input(SessionId id, Now now) {
    auto& session = sessions_.at(id);
    session.input_ended = true;
    process(id, session, now);
}

bool Service::wants_input(SessionId id) const {
    const auto& session = sessions_.at(id);
    return !session.closing && !session.dropped && !session.input_ended && !session.paused_until &&
           session.blocked.empty() && session.input.empty() && session.unsent() <= Session::output_limit &&
           session.answers.size() < Session::answer_limit;
}

std::string_view Service::output(SessionId id) const {
    const auto& session = sessions_.at(id);
    return session.dropped ? std::string_view{}
                           : std::string_view{session.output}.substr(session.output_sent);
}

void Service::sent(SessionId id, std::size_t bytes, Now now) {
    auto& session = sessions_.at(id);
    session.output_sent += std::min(bytes, session.unsent());
    session.progress = now.boot;
    if (session.unsent() == 0) {
        session.output.clear();
        session.output_sent = 0;
    }
    flush(id, session, now);
    process(id, session, now);
}

bool Service::finished(SessionId id) const {
    const auto& session = sessions_.at(id);
    const bool over =
        session.closing || (session.input_ended && session.blocked.empty() && session.input.empty());
    return session.dropped || (over && session.answers.empty() && session.unsent() == 0);
}

void Service::process(SessionId id, Session& session, Now now) {
    touched_.insert(id);
    while (!session.closing && !session.dropped && !session.paused_until) {
        if (session.unsent() > Session::output_limit || session.answers.size() >= Session::answer_limit) {
            break;
        }
        if (!session.blocked.empty()) {
            const std::string raw = std::exchange(session.blocked, {});
            if (handle(id, session, raw, now) == Progress::blocked) {
                session.blocked = raw;
                break;
            }
            session.accepted = false;
            session.delayed = false;
            continue;
        }
        std::string_view rest = std::string_view{session.input}.substr(session.input_used);
        const auto message = session.splitter.next(rest);
        session.input_used = session.input.size() - rest.size();
        if (!message) {
            refuse_stream(session, now);
            break;
        }
        if (!*message) {
            break;
        }
        if (handle(id, session, **message, now) == Progress::blocked) {
            session.blocked = **message;
            break;
        }
        session.accepted = false;
    }
    if (session.closing || session.dropped || session.input_used == session.input.size()) {
        session.input.clear();
        session.input_used = 0;
    }
    flush(id, session, now);
}

/// 400 for a stream that can be split no more. It is signed for whom the session has spoken, if it has.
void Service::refuse_stream(Session& session, Now now) {
    report(SecurityReason::message_too_long, session, session.last_source);
    session.closing = true;
    if (session.last_source != nullptr) {
        const Failure failure{Code::bad_request, {}, "message longer than 64 KiB"};
        answer(session,
               lib::dtcp::failure_response(lib::dtcp::version_0_7, std::nullopt, failure, now.timestamp(),
                                           session.last_source->key),
               false);
    }
}

Source* Service::authenticate(Session& session, const Request& request) {
    const auto* const parameter = request.find(Name::csource_id);
    const auto name = parameter == nullptr ? std::nullopt : lib::dtcp::unescape(parameter->value);
    Source* const source = name ? sources_.find(*name) : nullptr;
    if (source == nullptr) {
        report(SecurityReason::no_source, session, nullptr);
        counters_.add(ServiceCounter::rejected_source);
        return nullptr;
    }
    const auto& proven = session.peer.proven;
    if (proven ? *proven != source->index : !Sources::may_speak(*source, session.peer.user)) {
        report(SecurityReason::foreign_source, session, source);
        counters_.add(ServiceCounter::rejected_source);
        return nullptr;
    }
    if (!source->key.verify(request)) {
        report(request.authentication_info() ? SecurityReason::bad_signature : SecurityReason::no_signature,
               session, source);
        counters_.add(ServiceCounter::rejected_signature);
        return nullptr;
    }
    return source;
}

/// Silently to the client: what it sends next is read later.
void Service::failed_to_authenticate(Session& session, Now now) {
    if (++session.failures < Session::failures_allowed) {
        return;
    }
    const unsigned doublings = std::min(session.failures - Session::failures_allowed, 5U);
    session.paused_until = now.boot + std::min(nanoseconds_per_second << doublings, Session::longest_pause);
    counters_.add(ServiceCounter::delayed_failures);
    if (session.failures == Session::failures_allowed) {
        report(SecurityReason::failing_again, session, session.last_source);
    }
}

/// Within one session, as ssh-sequence = "session" wants it.
bool Service::in_sequence(Session& session, const Source& source, std::optional<std::uint64_t> seq) {
    if (source.config->ssh_sequence == lib::SshSequence::none) {
        return true;
    }
    if (!seq) {
        return false;
    }
    const auto [last, first_of_session] = session.sequence.emplace(source.index, *seq);
    if (first_of_session) {
        return true;
    }
    const std::uint64_t step = *seq - last->second;  // modulo 2^64
    const bool wraps = *seq < last->second;
    if (step == 0 || step > sequence_window || (wraps && last->second < last_before_wrap)) {
        return false;
    }
    last->second = *seq;
    return true;
}

bool Service::must_wait(const Session& session, Method method) const {
    const auto all = session.additions + session.removals + session.updates;
    switch (method) {
        case Method::add:
            return all != session.additions;
        case Method::delete_:
            return all != session.removals;
        case Method::refresh:
        case Method::enable:
        case Method::disable:
            return all != session.updates;
        case Method::list:
            return all != 0;
        case Method::noop:
        case Method::unknown:
            break;
    }
    return false;
}

Service::Progress Service::handle(SessionId id, Session& session, std::string_view raw, Now now) {
    const auto request = lib::dtcp::parse_request(raw);
    Source* const source = authenticate(session, request);
    if (source == nullptr) {
        failed_to_authenticate(session, now);
        return Progress::done;
    }
    session.failures = 0;
    const auto envelope = lib::dtcp::parse_envelope(request);
    if (!session.accepted) {
        auto& pace = paces_[static_cast<std::size_t>(source->index)];
        if (!pace.take(source->config->requests_per_second, now.boot)) {
            if (!std::exchange(session.delayed, true)) {
                counters_.add(ServiceCounter::delayed_pace);
            }
            return Progress::blocked;
        }
        if (!in_sequence(session, *source, envelope ? std::optional{envelope->seq} : std::nullopt)) {
            report(SecurityReason::bad_sequence, session, source);
            counters_.add(ServiceCounter::rejected_sequence);
            return Progress::done;
        }
        session.accepted = true;
        session.accepted_at = now.boot;
        counters_.add(ServiceCounter::requests);
        counters_.add(ServiceCounter::parameters_ignored, request.ignored());
    }
    const Context context{session,
                          request,
                          raw,
                          *source,
                          lib::dtcp::reply_version(request.version()),
                          envelope ? envelope->seq : 0,
                          now};
    session.last_source = source;
    session.spoken.insert(source->index);
    if (request.failure() || !envelope) {
        const auto& failure = request.failure() ? *request.failure() : envelope.error();
        const auto seq = envelope ? std::optional{envelope->seq} : std::nullopt;
        answer(session,
               lib::dtcp::failure_response(context.version, seq, failure, now.timestamp(), source->key),
               false);
        return Progress::done;
    }
    return execute(id, context);
}

void Service::fail(const Context& context, const Failure& failure) {
    answer(context.session,
           lib::dtcp::failure_response(context.version, context.seq, failure, context.now.timestamp(),
                                       context.source.key),
           false);
}

void Service::answer(Session& session, std::string text, bool ok) {
    counters_.add(ok ? ServiceCounter::answers_ok : ServiceCounter::answers_failed);
    session.answers.emplace_back(std::move(text));
}

void Service::wait_for(SessionId id, Session& session, const ChangeAnswer& change) {
    session.answers.emplace_back(change);
    ++waiting_changes(session, change.method);
    waiting_.emplace(change.operation, id);
}

std::size_t& Service::waiting_changes(Session& session, Method method) {
    return method == Method::add       ? session.additions
           : method == Method::delete_ ? session.removals
                                       : session.updates;
}

void Service::complete(const Outcome& outcome, Now now) {
    const auto waiter = waiting_.extract(outcome.operation);
    const bool ok = outcome.code == Code::ok;
    if (waiter.empty()) {
        return;
    }
    const auto id = waiter.mapped();
    const auto found = sessions_.find(id);
    if (found == sessions_.end()) {
        return;
    }
    auto& session = found->second;
    const auto place = std::ranges::find_if(session.answers, [&](const Answer& answer) {
        const auto* const change = std::get_if<ChangeAnswer>(&answer);
        return change != nullptr && change->operation == outcome.operation;
    });
    if (place == session.answers.end()) {
        return;  // the session was dropped meanwhile
    }
    const auto change = std::get<ChangeAnswer>(*place);
    const bool adding = change.method == Method::add;
    --waiting_changes(session, change.method);
    counters_.add(ok ? ServiceCounter::answers_ok : ServiceCounter::answers_failed);
    if (!ok) {
        *place = lib::dtcp::failure_response(change.version, change.seq, {outcome.code, {}, "not done"},
                                             now.timestamp(), change.source->key);
    } else if (adding) {
        counters_.add(ServiceCounter::taps_added);
        *place = lib::dtcp::add_response(change.version, change.seq, outcome.value, now.timestamp(),
                                         change.source->key);
    } else {
        counters_.add(
            change.method == Method::delete_ ? ServiceCounter::taps_deleted : ServiceCounter::taps_changed,
            outcome.value);
        *place = lib::dtcp::count_response(change.version, change.seq, outcome.value, now.timestamp(),
                                           change.source->key);
    }
    touched_.insert(id);
}

void Service::advance(Now now) {
    const auto outcomes = tasking_.take_outcomes();
    for (const auto& outcome : outcomes) {
        complete(outcome, now);
    }
    // A removal may have waited for another session's; anything, for the registry.
    for (auto& [id, session] : sessions_) {
        if (!outcomes.empty() || !session.blocked.empty()) {
            flush(id, session, now);
            process(id, session, now);
        }
    }
}

bool Service::work(Now now) {
    for (const auto id : std::vector(listing_.begin(), listing_.end())) {
        auto& session = sessions_.at(id);
        auto& front = session.answers.front();
        auto& list = std::get<std::unique_ptr<ListAnswer>>(front);
        if (list->advance()) {
            front = list->take();
            listing_.erase(id);
            flush(id, session, now);
            process(id, session, now);
        }
    }
    return !listing_.empty();
}

void Service::flush(SessionId id, Session& session, Now now) {
    const bool was_empty = session.unsent() == 0 || session.noticing;
    while (!session.answers.empty() && session.unsent() <= Session::output_limit) {
        auto& front = session.answers.front();
        auto* const text = std::get_if<std::string>(&front);
        if (text == nullptr) {
            if (std::holds_alternative<std::unique_ptr<ListAnswer>>(front)) {
                listing_.insert(id);
            }
            break;
        }
        if (session.output.empty()) {
            session.output = std::move(*text);
        } else {
            session.output += *text;
        }
        session.answers.pop_front();
        session.noticing = false;
    }
    if (session.unsent() == 0 && !session.notices.empty() && !session.dropped && !session.input_ended) {
        session.output = std::move(session.notices.front());
        session.output_sent = 0;
        session.notices.pop_front();
        session.noticing = true;
        counters_.add(ServiceCounter::notifications_sent);
    }
    if (was_empty && session.unsent() != 0) {
        session.progress = now.boot;
    }
    touched_.insert(id);
}

void Service::drop(SessionId id, Session& session) {
    session.dropped = true;
    session.output.clear();
    session.output_sent = 0;
    listing_.erase(id);
    session.answers.clear();
    report(SecurityReason::client_not_reading, session, session.last_source);
    counters_.add(ServiceCounter::clients_dropped);
    touched_.insert(id);
}

void Service::look_after(SessionId id, Session& session, Now now) {
    if (session.dropped) {
        return;
    }
    if (session.unsent() != 0 && (!session.noticing || session.input_ended) &&
        session.progress + Session::stall_limit <= now.boot) {
        drop(id, session);
        return;
    }
    const bool resumes = session.paused_until && *session.paused_until <= now.boot;
    if (resumes) {
        session.paused_until.reset();
    }
    if (resumes || !session.blocked.empty()) {
        process(id, session, now);
    }
}

void Service::tick(Now now) {
    for (auto& [id, session] : sessions_) {
        look_after(id, session, now);
    }
}

std::size_t Service::suspects() const {
    return static_cast<std::size_t>(std::ranges::count_if(
        sessions_, [](const auto& entry) { return entry.second.failures >= Session::failures_allowed; }));
}

void Service::report(SecurityReason reason, const Session& session, const Source* source) {
    events_.push_back(
        {reason, source == nullptr ? std::nullopt : std::optional{source->index}, session.peer.user});
}

std::set<SessionId> Service::take_touched() {
    return std::exchange(touched_, {});
}

std::vector<NoopEvent> Service::take_noops() {
    return std::exchange(noops_, {});
}

std::vector<SecurityEvent> Service::take_events() {
    return std::exchange(events_, {});
}

}  // namespace flowtap::control
