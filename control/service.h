// DTCP as spoken on streams: request bytes, the clock and the outcomes of operations in; answer bytes and
// security events out. No I/O, no waiting; the transport (stream_server.h) reads and writes.
//
// Rules (dtcp.md): a message that is not authentic is never answered, whatever else is wrong with it. Answers
// go out in the order of the requests. Requests of one kind run at once, of different kinds one after the
// other: what an answer says includes all that the session asked before. What a session leaves unread is
// bounded; a session that does not read is dropped, and others notice nothing of it. A session on which
// authentication fails again and again, and a source that asks too fast, are read more slowly: nothing is
// lost, and nothing is said.
//
// Sessions are in service.cc, the methods in service_requests.cc.
//
// Not thread-safe: one owner, who calls advance() after anything that may have moved an operation.
#pragma once

#include "control/criteria_ids.h"
#include "control/pace.h"
#include "control/security_event.h"
#include "control/service_counters.h"
#include "control/session.h"
#include "lib/dtcp/message.h"
#include "lib/dtcp/requests.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::control {

class Service {
  public:
    /// All must outlive the service.
    Service(const lib::Config& config, Sources& sources, CriteriaIds& ids, Tasking& tasking);

    SessionId open(Peer peer);
    /// One message whose sender is `peer.proven`: a session of its own, finished when its answer is taken.
    SessionId open_datagram(Peer peer, std::string_view message, Now now);
    /// Forgets the session. Operations that it began go on; nobody is told.
    void close(SessionId id);

    /// Bytes from the client. Only while wants_input().
    void receive(SessionId id, std::string_view bytes, Now now);
    /// The client will send nothing more; it still gets its answers.
    void end_input(SessionId id, Now now);
    bool wants_input(SessionId id) const;

    /// A notification for the open sessions that have spoken as the source. It goes out when the session has
    /// nothing else to send; a session that leaves too many unread loses the rest, and nothing more.
    void notify(SourceIndex source, const std::string& text, Now now);

    /// What is to be sent next; good until the next call of anything else.
    std::string_view output(SessionId id) const;
    /// The first `bytes` of it were taken by the client.
    void sent(SessionId id, std::size_t bytes, Now now);
    /// Nothing will come any more: the transport closes.
    bool finished(SessionId id) const;

    /// Passes on outcomes of operations, and goes on with what waited for them.
    void advance(Now now);
    /// A slice of the answers that are long to write; true: there is more to do, call again soon.
    bool work(Now now);
    /// Every 100 ms.
    void tick(Now now);

    /// Sessions for which output(), wants_input() or finished() may have changed.
    std::set<SessionId> take_touched();
    std::vector<SecurityEvent> take_events();
    std::vector<NoopEvent> take_noops();
    /// For events that the service's owner finds.
    ServiceCounters& counters() { return counters_; }
    std::size_t sessions() const { return sessions_.size(); }
    /// Sessions that are read slowly now, because authentication has failed on them repeatedly.
    std::size_t suspects() const;

  private:
    /// What all steps of one request need.
    struct Context {
        Session& session;
        const lib::dtcp::Request& request;
        std::string_view raw;
        Source& source;
        lib::dtcp::Version version;
        std::uint64_t seq = 0;
        Now now;
    };
    enum class Progress : std::uint8_t { done, blocked };

    void process(SessionId id, Session& session, Now now);
    Progress handle(SessionId id, Session& session, std::string_view raw, Now now);
    Source* authenticate(Session& session, const lib::dtcp::Request& request);
    void failed_to_authenticate(Session& session, Now now);
    bool in_sequence(Session& session, const Source& source, std::optional<std::uint64_t> seq);
    Progress execute(SessionId id, const Context& context);
    bool must_wait(const Session& session, lib::dtcp::Method method) const;
    void add(SessionId id, const Context& context);
    Progress remove(SessionId id, const Context& context);
    Progress refresh(SessionId id, const Context& context);
    Progress set_policy(SessionId id, const Context& context);
    Progress list(const Context& context);
    void noop(const Context& context);
    void change(SessionId id, const Context& context, const std::vector<NewTerms>& changes);
    void answer_count(const Context& context, std::uint64_t count);
    void fail(const Context& context, const lib::dtcp::Failure& failure);
    void refuse_stream(Session& session, Now now);
    void answer(Session& session, std::string text, bool ok);
    void wait_for(SessionId id, Session& session, const ChangeAnswer& change);
    static std::size_t& waiting_changes(Session& session, lib::dtcp::Method method);
    void drop(SessionId id, Session& session);
    void look_after(SessionId id, Session& session, Now now);
    void complete(const Outcome& outcome, Now now);
    void flush(SessionId id, Session& session, Now now);
    void report(SecurityReason reason, const Session& session, const Source* source);

    const lib::Config& config_;
    Sources& sources_;
    CriteriaIds& ids_;
    Tasking& tasking_;
    std::map<SessionId, Session> sessions_;
    std::map<OperationId, SessionId> waiting_;  ///< sessions of the operations on their way
    std::set<SessionId> listing_;               ///< sessions whose first answer is being written
    std::set<SessionId> touched_;
    std::vector<Pace> paces_;  ///< of each source
    std::vector<SecurityEvent> events_;
    std::vector<NoopEvent> noops_;
    ServiceCounters counters_;
    std::uint64_t next_session_ = 1;
};

}  // namespace flowtap::control
