#include "dataplane/match/frame_filter.h"

#include "dataplane/match/verify.h"

#include <new>
#include <utility>

namespace flowtap::dataplane::match {
namespace {

constexpr std::align_val_t alignment{64};

}  // namespace

void FrameFilter::Free::operator()(TapRecord* record) const noexcept {
    ::operator delete(record, alignment);
}

FrameFilter::FrameFilter(std::unique_ptr<TapRecord, Free> record) : record_(std::move(record)) {}

std::optional<FrameFilter> FrameFilter::compile(const lib::Criterion& criterion) {
    CompiledCriterion compiled;
    if (!compiled.compile(criterion)) {
        return std::nullopt;
    }
    if (compiled.never()) {
        return FrameFilter{nullptr};
    }
    void* const block = ::operator new(record_bytes(compiled, {}), alignment);
    return FrameFilter{std::unique_ptr<TapRecord, Free>{build_record(block, compiled, {})}};
}

bool FrameFilter::matches(const Headers& headers, std::uint16_t port) const {
    return record_ != nullptr && (matchable(headers.verdict) || (record_->traits & trait::layer2) != 0) &&
           criterion_matches(*record_, headers, port);
}

}  // namespace flowtap::dataplane::match
