// What Service does with each method.
#include "control/admission.h"
#include "control/selection.h"
#include "control/service.h"
#include "control/terms.h"
#include "lib/dtcp/response.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace flowtap::control {

namespace {

using lib::dtcp::Code;
using lib::dtcp::Failure;
using lib::dtcp::Method;
using lib::dtcp::Name;

bool needs_taps(Method method) {
    return method != Method::noop && method != Method::unknown;
}

}  // namespace

Service::Progress Service::execute(SessionId id, const Context& context) {
    const Method method = context.request.method();
    auto& session = context.session;
    if (must_wait(session, method)) {
        return Progress::blocked;
    }
    if (needs_taps(method) && !tasking_.started()) {
        // The dataplane may hold taps of an earlier process: until it has been asked, nothing can be said.
        if (session.accepted_at + Tasking::patience > context.now.boot) {
            return Progress::blocked;
        }
        fail(context, {Code::internal_error, {}, "the dataplane is away"});
        return Progress::done;
    }
    switch (method) {
        case Method::add:
            add(id, context);
            return Progress::done;
        case Method::delete_:
            return remove(id, context);
        case Method::refresh:
            return refresh(id, context);
        case Method::enable:
        case Method::disable:
            return set_policy(id, context);
        case Method::list:
            return list(context);
        case Method::noop:
            noop(context);
            return Progress::done;
        case Method::unknown:
            break;
    }
    fail(context, {Code::not_implemented, std::string{context.request.request_line()}, "unknown method"});
    return Progress::done;
}

void Service::add(SessionId id, const Context& context) {
    auto parsed = lib::dtcp::parse_add(context.request);
    if (!parsed) {
        fail(context, parsed.error());
        return;
    }
    const auto& source = context.source;
    auto plan = admit(context.request, std::move(*parsed), config_, *source.config);
    if (!plan) {
        fail(context, plan.error());
        return;
    }
    const auto& taps = tasking_.taps();
    if (taps.of(source.index).size() >= source.config->max_criteria ||
        taps.size() >= config_.control.max_criteria) {
        fail(context, {Code::too_many_criteria, {}, "max-criteria of the source or of all sources"});
        return;
    }
    if (taps.cdests_with(source.index, plan->text->cdests) > source.config->max_destinations) {
        fail(context, {Code::too_many_cdests, std::string{context.request.find(Name::cdest_id)->line},
                       "max-destinations of the source"});
        return;
    }
    const auto tap = ids_.take();
    if (!tap) {
        fail(context, {Code::internal_error, {}, "no Criteria-ID could be recorded"});
        return;
    }
    const auto operation = tasking_.add(
        {*tap, source.index, std::move(*plan), std::string{context.raw}, context.session.peer.address},
        context.now);
    if (!operation) {
        fail(context, {operation.error(), {}, "no room"});
        return;
    }
    wait_for(id, context.session, {*operation, Method::add, context.version, context.seq, &context.source});
}

Service::Progress Service::remove(SessionId id, const Context& context) {
    const auto parsed = lib::dtcp::parse_delete(context.request);
    if (!parsed) {
        fail(context, parsed.error());
        return Progress::done;
    }
    const auto selection =
        select_taps(tasking_.taps(), context.source.index, parsed->selector, parsed->including_static);
    if (!selection) {
        fail(context, selection.error());
        return Progress::done;
    }
    if (selection->busy) {
        return Progress::blocked;
    }
    if (selection->taps.empty()) {
        answer_count(context, 0);
        return Progress::done;
    }
    const auto operation = tasking_.remove(selection->taps, context.now);
    wait_for(id, context.session,
             {operation, Method::delete_, context.version, context.seq, &context.source});
    return Progress::done;
}

Service::Progress Service::refresh(SessionId id, const Context& context) {
    const auto parsed = lib::dtcp::parse_refresh(context.request);
    if (!parsed) {
        fail(context, parsed.error());
        return Progress::done;
    }
    // Static taps have no timeouts, and get none.
    const auto selection = select_taps(tasking_.taps(), context.source.index, parsed->selector, false);
    if (!selection) {
        fail(context, selection.error());
        return Progress::done;
    }
    if (selection->busy) {
        return Progress::blocked;
    }
    std::vector<NewTerms> changes;
    changes.reserve(selection->taps.size());
    for (Tap* const tap : selection->taps) {
        const auto terms = refreshed(tap->terms, parsed->timeouts, tasking_.totals(*tap), context.now);
        if (!terms) {
            fail(context, {Code::improper_timeout, parsed->timeout_line, "no timeout would remain"});
            return Progress::done;
        }
        changes.push_back({tap, *terms});
    }
    change(id, context, changes);
    return Progress::done;
}

Service::Progress Service::set_policy(SessionId id, const Context& context) {
    const auto parsed = lib::dtcp::parse_policy(context.request);
    if (!parsed) {
        fail(context, parsed.error());
        return Progress::done;
    }
    const auto& policies = config_.drop_policies;
    const auto policy = std::ranges::find(policies, parsed->policy, &lib::DropPolicyConfig::name);
    if (policy == policies.end()) {
        fail(context, {Code::jtap_failure, parsed->policy_line, "a drop policy that is not configured"});
        return Progress::done;
    }
    const auto selection =
        select_taps(tasking_.taps(), context.source.index, parsed->ids, parsed->including_static);
    if (!selection) {
        fail(context, selection.error());
        return Progress::done;
    }
    if (selection->busy) {
        return Progress::blocked;
    }
    const auto bit = std::uint64_t{1} << (policy - policies.begin());
    std::vector<NewTerms> changes;
    changes.reserve(selection->taps.size());
    for (Tap* const tap : selection->taps) {
        auto terms = tap->terms;
        terms.suppressed = parsed->enable ? terms.suppressed | bit : terms.suppressed & ~bit;
        changes.push_back({tap, terms});
    }
    change(id, context, changes);
    return Progress::done;
}

void Service::change(SessionId id, const Context& context, const std::vector<NewTerms>& changes) {
    if (changes.empty()) {
        answer_count(context, 0);
        return;
    }
    const auto operation = tasking_.update(changes, context.now);
    wait_for(id, context.session,
             {operation, context.request.method(), context.version, context.seq, &context.source});
}

Service::Progress Service::list(const Context& context) {
    const auto parsed = lib::dtcp::parse_list(context.request);
    if (!parsed) {
        fail(context, parsed.error());
        return Progress::done;
    }
    context.session.answers.emplace_back(std::make_unique<ListAnswer>(
        tasking_, context.source, *parsed, context.version, context.seq, context.now,
        context.session.peer.proven ? Session::datagram_limit : std::numeric_limits<std::size_t>::max()));
    counters_.add(ServiceCounter::answers_ok);
    return Progress::done;
}

void Service::noop(const Context& context) {
    const auto parsed = lib::dtcp::parse_noop(context.request);
    if (!parsed) {
        fail(context, parsed.error());
        return;
    }
    if (parsed->send_async) {
        noops_.push_back({context.source.index});
    }
    answer(
        context.session,
        lib::dtcp::noop_response(context.version, context.seq, context.now.timestamp(), context.source.key),
        true);
}

void Service::answer_count(const Context& context, std::uint64_t count) {
    answer(context.session,
           lib::dtcp::count_response(context.version, context.seq, count, context.now.timestamp(),
                                     context.source.key),
           true);
}

}  // namespace flowtap::control
