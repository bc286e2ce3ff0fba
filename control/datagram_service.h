// DTCP in datagrams (dtcp.md sections 1 and 3): one message each, answered to where it came from. No I/O.
//
// A message goes through: a source that may use UDP, its signature, its sequence number, the number's way to
// the medium, and only then to the service, as a session of its own. What fails before is never answered: a
// security event and a counter tell of it. Messages of one moment share one write.
//
// Memory is bounded: while too much is on its way, wants_input() is false and datagrams wait in the kernel,
// which drops what is too much for it. Long answers (LIST) are written a few at a time.
//
// Not thread-safe: one owner.
#pragma once

#include "control/datagram.h"
#include "control/security_event.h"
#include "control/sequence_store.h"
#include "control/service.h"

#include <cstddef>
#include <deque>
#include <map>
#include <set>
#include <string_view>
#include <vector>

namespace flowtap::control {

class DatagramService {
  public:
    static constexpr std::size_t most_messages = 1024;
    static constexpr std::size_t most_bytes = std::size_t{16} << 20;
    static constexpr std::size_t most_lists = 4;  ///< being written at a time

    /// All must outlive this.
    DatagramService(Service& service, Sources& sources, SequenceStore& store)
        : service_{service}, sources_{sources}, store_{store} {}

    bool wants_input() const;
    void receive(Datagram datagram, Now now);

    /// Numbers are to be written, and none are on their way: take_changes(), then committed().
    bool commit_wanted() const { return committing_.empty() && !accepted_.empty(); }
    std::vector<SequenceStore::Change> take_changes();
    /// The messages of the changes taken last are acted on; if their numbers could not be written, forgotten.
    void committed(bool written, Now now);

    /// Collects the answers of the sessions that the service has touched.
    void pump(const std::set<SessionId>& touched, Now now);
    std::vector<Datagram> take_answers() { return std::exchange(answers_, {}); }

    std::vector<SecurityEvent> take_events() { return std::exchange(events_, {}); }
    /// Sources whose numbers have passed zero (130).
    std::vector<SourceIndex> take_rollovers() { return std::exchange(rollovers_, {}); }

  private:
    struct Message {
        Datagram datagram;
        SourceIndex source{};
        bool list = false;
        bool rollover = false;
    };
    struct Running {
        Datagram way;  ///< without bytes
        bool list = false;
        std::size_t size = 0;  ///< of the message
    };

    Source* authenticate(const lib::dtcp::Request& request);
    bool take_number(Source& source, const lib::dtcp::Request& request, bool& rollover);
    void refuse(SecurityReason reason, ServiceCounter counter, const Source* source);
    void start_some(Now now);
    void start(const Message& message, Now now);

    Service& service_;
    Sources& sources_;
    SequenceStore& store_;
    std::deque<Message> accepted_;     ///< their numbers are to be written
    std::vector<Message> committing_;  ///< their numbers are being written
    std::deque<Message> ready_;
    std::map<SessionId, Running> running_;
    std::size_t lists_ = 0;  ///< in running_
    std::size_t bytes_ = 0;  ///< of all messages that are not answered
    std::vector<Datagram> answers_;
    std::vector<SecurityEvent> events_;
    std::vector<SourceIndex> rollovers_;
};

}  // namespace flowtap::control
