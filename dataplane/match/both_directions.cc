#include "dataplane/match/both_directions.h"

namespace flowtap::dataplane::match {
namespace {

/// The rule of filter lists; see lib/criterion.h.
bool matches(const lib::AddressList& list, const lib::IpAddress& address) {
    bool any_positive = false;
    bool hit = false;
    for (const lib::AddressTerm& term : list) {
        const bool inside = term.first.bytes <= address.bytes && address.bytes <= term.last.bytes;
        if (term.negated && inside) {
            return false;
        }
        any_positive = any_positive || !term.negated;
        hit = hit || (!term.negated && inside);
    }
    return !any_positive || hit;
}

}  // namespace

OneSided::OneSided(const lib::Criterion& criterion) {
    const lib::IpAddress host = *criterion.either_address;
    lib::Criterion rest = criterion;
    rest.either_address.reset();
    const bool as_source = matches(criterion.source_address, host);
    if (as_source) {
        lib::Criterion& part = parts_[count_++] = rest;
        part.source_address = {{host, host, false}};
    }
    if (matches(criterion.dest_address, host)) {
        lib::Criterion& part = parts_[count_++] = rest;
        part.dest_address = {{host, host, false}};
        if (as_source) {  // else the source list leaves it out already
            part.source_address.push_back({host, host, true});
        }
    }
    if (count_ == 0) {
        // The lists leave the host out on both sides: nothing matches.
        lib::Criterion& part = parts_[count_++] = rest;
        part.source_address = {{host, host, false}, {host, host, true}};
    }
}

}  // namespace flowtap::dataplane::match
