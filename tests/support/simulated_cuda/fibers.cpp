#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <ucontext.h>

#include "launch.h"

namespace simulated_cuda {

unsigned long long shown_by_fiber[1024];

namespace {

constexpr size_t kStack = 64 << 10;

enum State : char { kNew, kStarted, kDone };

struct Barrier {
    unsigned arrived = 0;
    unsigned long long round = 0;
};

// One block; launches run one at a time.
struct Block {
    unsigned count, at;
    Thread thread;
    const void* context;
    std::vector<State> states;
    std::unique_ptr<jmp_buf[]> places;
    jmp_buf scheduler;
    std::map<std::pair<unsigned, unsigned>, Barrier> barriers;
    bool moved;  // whether a fiber got further in this round
};

Block block;

void enter() {
    block.thread(block.context, block.at);
    block.states[block.at] = kDone;
    block.moved = true;
    _longjmp(block.scheduler, 1);
}

void start() {
    static std::vector<std::unique_ptr<char[]>> stacks;
    while (stacks.size() <= block.at) stacks.emplace_back(new char[kStack]);
    block.states[block.at] = kStarted;
    block.moved = true;
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = stacks[block.at].get();
    context.uc_stack.ss_size = kStack;
    context.uc_link = nullptr;
    makecontext(&context, enter, 0);
    setcontext(&context);
}

void yield() {
    if (!_setjmp(block.places[block.at])) _longjmp(block.scheduler, 1);
}

unsigned alive(unsigned first, unsigned count) {
    const auto begin = block.states.begin() + first;
    const auto end = block.states.begin() + std::min(first + count, block.count);
    return (unsigned)(end - begin - std::count(begin, end, kDone));
}

}  // namespace

void run_fibers(unsigned count, bool backwards, Thread thread, const void* context) {
    block.count = count;
    block.thread = thread;
    block.context = context;
    block.states.assign(count, kNew);
    block.places.reset(new jmp_buf[count]);
    block.barriers.clear();
    do {  // each goes on until it waits, then the next one does
        block.moved = false;
        for (unsigned turn = 0; turn < count; ++turn) {
            block.at = backwards ? count - 1 - turn : turn;
            if (block.states[block.at] == kDone || _setjmp(block.scheduler)) continue;
            if (block.states[block.at] == kNew)
                start();
            else
                _longjmp(block.places[block.at], 1);
        }
        if (!block.moved) {
            std::fprintf(stderr, "simulated CUDA device: threads of a block wait for each other for ever\n");
            std::abort();
        }
    } while (alive(0, count));
}

unsigned fiber_count() { return block.count; }

unsigned fiber_index() { return block.at; }

void wait_for_fibers(unsigned first, unsigned count) {
    Barrier& barrier = block.barriers[{first, count}];
    const unsigned long long round = barrier.round;
    ++barrier.arrived;
    while (barrier.round == round) {
        if (barrier.arrived >= alive(first, count)) {
            barrier.arrived = 0;
            ++barrier.round;
            block.moved = true;
        } else {
            yield();
        }
    }
}

}  // namespace simulated_cuda
