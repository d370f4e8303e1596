// A board in Verilator: its pins move bit by bit, its serial line ends in a file descriptor.
// Usage: board tty|tcp FD BOARD_PS ENGINE_PS WHOLE PARTS; FD is a pseudo-terminal's far end or a
// socket that listens, *_PS are the clocks' periods, WHOLE / PARTS board clocks make a bit. The
// signal SIGUSR1 is a finger on the board's button.
//
// Time passes while there is something to do. A board whose line has been silent for REST clocks
// sleeps until the host says something: a pass that takes longer goes on with the next poll.

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "Vengine.h"
#include "verilated.h"

namespace {

constexpr int FRAME_BITS = 10;           // start, eight data, stop
constexpr std::uint64_t LOOK = 128;      // board clocks between looks at the descriptor
constexpr std::uint64_t REST = 400'000;  // of silence, then the board sleeps
constexpr std::uint64_t PRESS = 64;      // board clocks that a finger stays on the button
constexpr std::size_t BURST = 256;       // bytes that leave at once, unless the line falls silent
constexpr std::size_t UNREAD = 1 << 16;  // what a host may leave unread before bytes are lost

volatile std::sig_atomic_t pressed = 0;

// A bit takes whole / parts clocks.
struct Bit {
    unsigned whole, parts;
};

// From bytes to the level of a line, one clock at a time.
class Sender {
public:
    explicit Sender(Bit bit) : bit_(bit) {}
    bool idle() const { return !left_ && bytes_.empty(); }
    void queue(const std::uint8_t* data, std::size_t count) {
        bytes_.insert(bytes_.end(), data, data + count);
    }
    void forget() { bytes_.clear(); }
    bool clock() {
        if (!left_ && !bytes_.empty()) {
            frame_ = 1u << (FRAME_BITS - 1) | bytes_.front() << 1;
            bytes_.pop_front();
            left_ = FRAME_BITS;
            clocks_ = 0;
        }
        if (!left_) return true;
        const bool level = frame_ & 1;
        clocks_ += bit_.parts;
        if (clocks_ >= bit_.whole) {
            clocks_ -= bit_.whole;
            frame_ >>= 1;
            --left_;
        }
        return level;
    }

private:
    const Bit bit_;
    std::deque<std::uint8_t> bytes_;
    unsigned frame_ = 0, left_ = 0, clocks_ = 0;
};

// From the level of a line to bytes: looks at the middle of every bit.
class Receiver {
public:
    explicit Receiver(Bit bit) : bit_(bit) {}
    bool idle() const { return !running_; }
    // Whether a byte has come, which is then `byte`.
    bool clock(bool level) {
        if (!running_ && level) return false;
        if (!running_) {
            running_ = true;
            clocks_ = 0;
            frame_ = 0;
            seen_ = 0;
        }
        const unsigned looks = (bit_.whole / 2 + seen_ * bit_.whole) / bit_.parts;
        if (clocks_++ != looks) return false;
        frame_ |= unsigned{level} << seen_++;
        if (seen_ != FRAME_BITS) return false;
        running_ = false;
        byte = static_cast<std::uint8_t>(frame_ >> 1);
        return frame_ >> (FRAME_BITS - 1) & 1;
    }
    std::uint8_t byte = 0;

private:
    const Bit bit_;
    bool running_ = false;
    unsigned clocks_ = 0, frame_ = 0, seen_ = 0;
};

// The host's end: a terminal, or one connection at a time.
class Host {
public:
    Host(bool tcp, int fd) : listening_(tcp ? fd : -1), fd_(tcp ? -1 : fd) {
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    }
    // Move what can be moved; true if the host is another one than before.
    bool exchange(Sender& to_board, std::vector<std::uint8_t>& from_board) {
        const bool fresh = welcome();
        if (fd_ < 0) {
            from_board.clear();
            return fresh;
        }
        if (!from_board.empty()) {
            const ssize_t sent = write(fd_, from_board.data(), from_board.size());
            if (sent > 0) from_board.erase(from_board.begin(), from_board.begin() + sent);
            if (from_board.size() > UNREAD) from_board.clear();
        }
        std::uint8_t buffer[4096];
        const ssize_t count = read(fd_, buffer, sizeof buffer);
        if (count > 0) to_board.queue(buffer, static_cast<std::size_t>(count));
        const bool gone = count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR);
        if (gone && listening_ >= 0) {
            close(fd_);
            fd_ = -1;
        }
        return fresh;
    }
    void sleep() const {
        pollfd waited[2] = {{fd_, POLLIN, 0}, {listening_, POLLIN, 0}};
        poll(waited, 2, 1000);  // a signal ends it
    }

private:
    bool welcome() {
        if (listening_ < 0) return false;
        const int found = accept(listening_, nullptr, nullptr);
        if (found < 0) return false;
        if (fd_ >= 0 && !hung_up()) {  // the board has one line, and somebody is on it
            close(found);
            return false;
        }
        if (fd_ >= 0) close(fd_);
        fcntl(found, F_SETFL, fcntl(found, F_GETFL) | O_NONBLOCK);
        fd_ = found;
        return true;
    }

    // Whether the host has gone already. What it said last is for nobody: the next one is fresh.
    bool hung_up() const {
        std::uint8_t buffer[4096];
        ssize_t count;
        do count = recv(fd_, buffer, sizeof buffer, MSG_PEEK);
        while (count > 0 && read(fd_, buffer, static_cast<std::size_t>(count)) > 0);
        return count == 0;
    }

    const int listening_;
    int fd_;
};

class Board {
public:
    Board(Host host, std::uint64_t board_ps, std::uint64_t engine_ps, Bit bit)
        : host_(host), board_ps_(board_ps), engine_ps_(engine_ps), sender_(bit), receiver_(bit) {}

    [[noreturn]] void run() {
        std::uint64_t board = board_ps_, engine = engine_ps_;  // when the next edges are
        for (std::uint64_t clocks = 1;; ++clocks) {
            for (; engine < board; engine += engine_ps_) edge(false, true);
            const bool both = engine == board;
            if (both) engine += engine_ps_;
            board += board_ps_;
            top_.rx = sender_.clock();
            if (pressed) {
                pressed = 0;
                last_ = clocks;
                released_ = clocks + PRESS;
            }
            top_.button = clocks >= released_;
            edge(true, both);
            if (receiver_.clock(top_.tx)) said_.push_back(receiver_.byte);
            if (!sender_.idle() || !receiver_.idle()) last_ = clocks;
            if (clocks % LOOK == 0) look(clocks);
        }
    }

private:
    void look(std::uint64_t clocks) {
        const bool silent = clocks - last_ > LOOK;
        std::vector<std::uint8_t> none;
        if (host_.exchange(sender_, silent || said_.size() >= BURST ? said_ : none)) {
            sender_.forget();
            said_.clear();
        }
        if (clocks - last_ > REST && sender_.idle()) host_.sleep();
    }

    void edge(bool board, bool engine) {
        if (board) top_.clock = 1;
        if (engine) top_.engine_clock = 1;
        top_.eval();
        top_.clock = 0;
        top_.engine_clock = 0;
        top_.eval();
    }

    Host host_;
    const std::uint64_t board_ps_, engine_ps_;
    Sender sender_;
    Receiver receiver_;
    std::vector<std::uint8_t> said_;
    std::uint64_t last_ = 0, released_ = 0;
    Vengine top_;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 7) {
        std::cerr << "usage: board tty|tcp FD BOARD_PS ENGINE_PS WHOLE PARTS\n";
        return 2;
    }
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // a server that was killed leaves nothing behind
#endif
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGUSR1, [](int) { pressed = 1; });
    Host host(std::string(argv[1]) == "tcp", std::atoi(argv[2]));
    Board board(host, std::strtoull(argv[3], nullptr, 10), std::strtoull(argv[4], nullptr, 10),
                Bit{static_cast<unsigned>(std::atoi(argv[5])),
                    static_cast<unsigned>(std::atoi(argv[6]))});
    board.run();
}
