#include "control/datagram_service.h"

#include "lib/dtcp/escape.h"
#include "lib/dtcp/framing.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace flowtap::control {

namespace {

using lib::dtcp::Name;

/// Stands for the account in the security log: a datagram has none.
constexpr const char* udp_user = "udp";

SecurityReason reason_of(SequenceVerdict verdict) {
    return verdict == SequenceVerdict::seen ? SecurityReason::sequence_seen
                                            : SecurityReason::sequence_outside;
}

}  // namespace

bool DatagramService::wants_input() const {
    return accepted_.size() + committing_.size() + ready_.size() + running_.size() < most_messages &&
           bytes_ < most_bytes;
}

void DatagramService::refuse(SecurityReason reason, ServiceCounter counter, const Source* source) {
    service_.counters().add(counter);
    events_.push_back({reason, source == nullptr ? std::nullopt : std::optional{source->index}, udp_user});
}

/// By Csource-ID and signature only: a source address proves nothing.
Source* DatagramService::authenticate(const lib::dtcp::Request& request) {
    const auto* const parameter = request.find(Name::csource_id);
    const auto name = parameter == nullptr ? std::nullopt : lib::dtcp::unescape(parameter->value);
    Source* const source = name ? sources_.find(*name) : nullptr;
    if (source == nullptr) {
        refuse(SecurityReason::no_source, ServiceCounter::rejected_source, nullptr);
        return nullptr;
    }
    if (!source->config->udp) {
        refuse(SecurityReason::udp_not_allowed, ServiceCounter::rejected_source, source);
        return nullptr;
    }
    if (!source->key.verify(request)) {
        refuse(request.authentication_info() ? SecurityReason::bad_signature : SecurityReason::no_signature,
               ServiceCounter::rejected_signature, source);
        return nullptr;
    }
    return source;
}

bool DatagramService::take_number(Source& source, const lib::dtcp::Request& request, bool& rollover) {
    const auto envelope = lib::dtcp::parse_envelope(request);
    if (!envelope) {
        refuse(SecurityReason::no_sequence, ServiceCounter::rejected_sequence, &source);
        return false;
    }
    if (store_.record(source.index) != SequenceRecord::good) {
        refuse(SecurityReason::no_sequence_record, ServiceCounter::rejected_sequence, &source);
        return false;
    }
    const auto verdict = store_.accept(source.index, envelope->seq);
    if (!is_accepted(verdict)) {
        refuse(reason_of(verdict), ServiceCounter::rejected_sequence, &source);
        return false;
    }
    rollover = verdict == SequenceVerdict::rollover;
    return true;
}

void DatagramService::receive(Datagram datagram, Now) {
    service_.counters().add(ServiceCounter::datagrams);
    const auto request = lib::dtcp::parse_request(datagram.bytes);
    Source* const source = authenticate(request);
    bool rollover = false;
    if (source == nullptr || !take_number(*source, request, rollover)) {
        return;
    }
    const bool list = request.method() == lib::dtcp::Method::list;
    bytes_ += datagram.bytes.size();
    accepted_.push_back({std::move(datagram), source->index, list, rollover});
}

std::vector<SequenceStore::Change> DatagramService::take_changes() {
    committing_.assign(std::move_iterator{accepted_.begin()}, std::move_iterator{accepted_.end()});
    accepted_.clear();
    return store_.take_changes();
}

void DatagramService::committed(bool written, Now now) {
    store_.settled(written);
    for (auto& message : std::exchange(committing_, {})) {
        if (!written) {
            bytes_ -= message.datagram.bytes.size();
            service_.counters().add(ServiceCounter::datagrams_not_recorded);
            continue;
        }
        if (message.rollover) {
            rollovers_.push_back(message.source);
            service_.counters().add(ServiceCounter::sequence_rollovers);
            events_.push_back({SecurityReason::sequence_rollover, message.source, udp_user});
        }
        ready_.push_back(std::move(message));
    }
    start_some(now);
}

void DatagramService::start_some(Now now) {
    for (auto message = ready_.begin(); message != ready_.end();) {
        if (message->list && lists_ >= most_lists) {
            ++message;
            continue;
        }
        start(*message, now);
        message = ready_.erase(message);
    }
}

void DatagramService::start(const Message& message, Now now) {
    const Peer peer{udp_user, message.datagram.peer.address, message.source};
    const auto id = service_.open_datagram(peer, message.datagram.bytes, now);
    Running running{message.datagram, message.list, message.datagram.bytes.size()};
    running.way.bytes.clear();
    lists_ += message.list ? 1 : 0;
    running_.emplace(id, std::move(running));
}

void DatagramService::pump(const std::set<SessionId>& touched, Now now) {
    for (const auto id : touched) {
        const auto found = running_.find(id);
        if (found == running_.end()) {
            continue;
        }
        auto& running = found->second;
        while (!service_.output(id).empty()) {
            const std::string text{service_.output(id)};
            // Each message is one datagram: an answer holds whole ones.
            lib::dtcp::Splitter splitter{std::numeric_limits<std::size_t>::max()};
            std::string_view rest = text;
            for (auto part = splitter.next(rest); part && *part; part = splitter.next(rest)) {
                Datagram answer = running.way;
                answer.bytes = **part;
                answers_.push_back(std::move(answer));
            }
            service_.sent(id, text.size(), now);
        }
        if (service_.finished(id)) {
            lists_ -= running.list ? 1 : 0;
            bytes_ -= running.size;
            running_.erase(found);
            service_.close(id);
        }
    }
    start_some(now);
}

}  // namespace flowtap::control
