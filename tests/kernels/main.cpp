// A device that is asked through its standard input, in native byte order, and answers through its standard
// output: an octet says what is asked, and what follows is
//   A count            -> the address of so many new bytes, which hold NaN;
//   F address             gives them back;
//   W address count, bytes
//   R address count    -> bytes
//   L name grid block memory, arguments -> an octet, when the kernel has run.
// Numbers are u64, a name or an argument is its length and its bytes. What a kernel does wrong ends the
// program.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "block.h"

namespace emulation {

static std::map<std::string, Kernel> &kernels() {
    static std::map<std::string, Kernel> all;
    return all;
}
void know(const char *name, Kernel kernel) { kernels()[name] = std::move(kernel); }

static std::map<unsigned char *, std::size_t> allocations;

static void take(void *to, std::size_t count) {
    if (std::fread(to, 1, count, stdin) != count) fail("the end of a question is missing");
}
static std::uint64_t number() {
    std::uint64_t n;
    take(&n, sizeof n);
    return n;
}
static std::vector<unsigned char> bytes() {
    std::vector<unsigned char> all(number());
    take(all.data(), all.size());
    return all;
}
static unsigned char *address() { return reinterpret_cast<unsigned char *>(number()); }
static void answer(const void *from, std::size_t count) { std::fwrite(from, 1, count, stdout); }

/// Takes a copy of all memory.
static void keep(std::vector<unsigned char> &copy) {
    std::size_t total = 0;
    for (const auto &[at, count] : allocations) total += count;
    copy.resize(total);
    total = 0;
    for (const auto &[at, count] : allocations) {
        std::memcpy(copy.data() + total, at, count);
        total += count;
    }
}

/// Runs a kernel twice, in opposite orders: were there a race, the results would hardly be the same bits.
static void launch() {
    const std::vector<unsigned char> letters = bytes();
    const std::string name(letters.begin(), letters.end());
    auto size = [] {
        const std::uint64_t x = number(), y = number(), z = number();
        if (x == 0 || y == 0 || z == 0 || x >> 31 != 0 || y > 65535 || z > 65535)
            fail("a grid or block of %zu %zu %zu", x, y, z);
        return dim3{unsigned(x), unsigned(y), unsigned(z)};
    };
    Launch launch = {name.c_str(), size(), size(), number(), {}};
    if (std::size_t(launch.block.x) * launch.block.y * launch.block.z > 1024)
        fail("%s: too many threads", name.c_str());
    Arguments arguments(number());
    for (auto &argument : arguments) argument = bytes();
    const auto kernel = kernels().find(name);
    if (kernel == kernels().end()) fail("there is no kernel %s", name.c_str());
    launch.body = kernel->second(arguments);

    static std::vector<unsigned char> before, after;
    keep(before);
    run(launch, false);
    keep(after);
    std::size_t from = 0;
    for (const auto &[at, count] : allocations) {
        std::memcpy(at, before.data() + from, count);
        from += count;
    }
    run(launch, true);
    from = 0;
    for (const auto &[at, count] : allocations) {
        if (std::memcmp(at, after.data() + from, count) != 0)
            fail("%s: the result depends on the order of its threads", name.c_str());
        from += count;
    }
}

static void serve() {
    for (int question; (question = std::getchar()) != EOF; std::fflush(stdout)) {
        switch (question) {
        case 'A': {
            const std::uint64_t count = number();
            void *made = nullptr;
            if (posix_memalign(&made, 256, count ? count : 1) != 0) fail("no memory for %zu bytes", count);
            std::memset(made, 0xff, count);
            allocations[static_cast<unsigned char *>(made)] = count;
            answer(&made, sizeof made);
            break;
        }
        case 'F': {
            unsigned char *at = address();
            allocations.erase(at);
            std::free(at);
            break;
        }
        case 'W': {
            unsigned char *at = address();
            take(at, number());
            break;
        }
        case 'R': {
            const unsigned char *at = address();
            answer(at, number());
            break;
        }
        case 'L':
            launch();
            answer("", 1);
            break;
        default: fail("an unknown question: %d", question);
        }
    }
}

} // namespace emulation

int main() { emulation::serve(); }
