// IndexList: a doubly linked list of pool indices whose links are members of the records.
//
// It serves timers that all have one constant timeout (TIME-WAIT, SYN-RECEIVED per retransmission level): appended at
// the back when they start, the front is always the earliest, and no wheel is needed. It allocates nothing and owns
// nothing; a record is in at most one list per pair of links.
#pragma once

#include <cassert>
#include <cstdint>

#include "tcp/pool.hpp"

namespace pollux::tcp {

template <class Node, uint32_t Node::*next = &Node::next, uint32_t Node::*prev = &Node::prev>
class IndexList {
public:
    static constexpr uint32_t none = Pool<Node>::none;

    explicit IndexList(Pool<Node>& nodes) : nodes_(&nodes) {}

    void push_back(uint32_t index) {
        node(index).*next = none;
        node(index).*prev = back_;
        (back_ == none ? front_ : node(back_).*next) = index;
        back_ = index;
        ++size_;
    }
    void push_front(uint32_t index) {
        node(index).*prev = none;
        node(index).*next = front_;
        (front_ == none ? back_ : node(front_).*prev) = index;
        front_ = index;
        ++size_;
    }
    /// The index that was at the front, or `none`.
    uint32_t pop_front() {
        const uint32_t index = front_;
        if (index != none) erase(index);
        return index;
    }
    /// `index` is in this list.
    void erase(uint32_t index) {
        const uint32_t after = node(index).*next, before = node(index).*prev;
        assert(before == none ? front_ == index : node(before).*next == index);
        assert(after == none ? back_ == index : node(after).*prev == index);
        (before == none ? front_ : node(before).*next) = after;
        (after == none ? back_ : node(after).*prev) = before;
        --size_;
    }

    uint32_t front() const { return front_; }  // none when empty
    uint32_t back() const { return back_; }    // none when empty
    /// The one behind `index`, or `none`: for walks.
    uint32_t after(uint32_t index) const { return node(index).*next; }
    bool empty() const { return size_ == 0; }
    uint32_t size() const { return size_; }

private:
    Node& node(uint32_t index) const { return (*nodes_)[index]; }

    Pool<Node>* nodes_;
    uint32_t front_ = none, back_ = none;
    uint32_t size_ = 0;
};

}  // namespace pollux::tcp
