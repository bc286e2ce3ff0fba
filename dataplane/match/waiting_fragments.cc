#include "dataplane/match/waiting_fragments.h"

#include <bit>
#include <cassert>

namespace flowtap::dataplane::match {

WaitingFragments::WaitingFragments(std::size_t places, std::uint64_t seed, std::pmr::memory_resource* memory)
    : hash_(seed), slots_(places, memory), lists_(std::bit_ceil(places), memory) {
    assert(places < none);
    for (std::size_t i = 0; i < places; ++i) {
        push(free_, static_cast<Index>(i));
    }
}

void WaitingFragments::push(Queue& queue, Index index) {
    Slot& slot = slots_[index];
    slot.previous = queue.last;
    slot.next = none;
    (queue.last != none ? slots_[queue.last].next : queue.first) = index;
    queue.last = index;
}

void WaitingFragments::remove(Queue& queue, Index index) {
    const Slot& slot = slots_[index];
    (slot.previous != none ? slots_[slot.previous].next : queue.first) = slot.next;
    (slot.next != none ? slots_[slot.next].previous : queue.last) = slot.previous;
}

void WaitingFragments::append(Queue& list, Index index) {
    slots_[index].peer = none;
    (list.last != none ? slots_[list.last].peer : list.first) = index;
    list.last = index;
}

void WaitingFragments::add(const WaitingFragment& fragment) {
    assert(!full());
    const Index index = free_.first;
    remove(free_, index);
    slots_[index].fragment = fragment;
    push(waiting_, index);
    append(list_of(fragment.key), index);
    ++used_;
}

std::size_t WaitingFragments::resolve(const FragmentKey& key, const UpperFacts& facts) {
    std::size_t resolved = 0;
    Queue& list = list_of(key);
    Queue others;
    for (Index index = list.first; index != none;) {
        Slot& slot = slots_[index];
        const Index next = slot.peer;
        if (slot.fragment.key == key) {
            slot.fragment.facts = facts;
            remove(waiting_, index);
            push(ready_, index);
            ++resolved;
        } else {
            append(others, index);
        }
        index = next;
    }
    list = others;
    return resolved;
}

/// The first of the queue.
void WaitingFragments::release(Queue& queue) {
    assert(queue.first != none);
    const Index index = queue.first;
    remove(queue, index);
    push(free_, index);
    --used_;
}

void WaitingFragments::drop_oldest() {
    assert(waiting_.first != none);
    Queue& list = list_of(slots_[waiting_.first].fragment.key);
    assert(list.first == waiting_.first);  // of all, so of its list
    list.first = slots_[list.first].peer;
    if (list.first == none) {
        list.last = none;
    }
    release(waiting_);
}

void WaitingFragments::drop_ready() {
    release(ready_);
}

}  // namespace flowtap::dataplane::match
