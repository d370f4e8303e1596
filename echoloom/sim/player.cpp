// Plays a script on Verilator's model of the engine, like cocotb_player.py but without Python:
// millions of clocks a second. Formats are defined in script.py. Usage: player DIRECTORY
//
// Inputs change after the rising edge; handshakes are looked at when everything has settled,
// just before the next one.

#include <array>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef __linux__
#include <csignal>
#include <sys/prctl.h>
#endif

#include "Vengine.h"
#include "verilated.h"

// Verilator spells the two underscores of Amaranth's port names ___05F.
#define PORT(stream, signal) top_.stream##___05F##signal

namespace {

using Word = std::uint64_t;
using Words = std::vector<Word>;

constexpr Word DONE = 2;  // bit 1 of STATUS

struct Turn {
    Word before, samples, outputs, first_poll, poll, after, limit;
};
struct Mark {
    Word outputs, responses, trace, clock;
};

template <typename Row>
std::vector<Row> load(const std::string& directory, const std::string& name) {
    std::ifstream file(directory + "/" + name + ".bin", std::ios::binary | std::ios::ate);
    if (!file) throw std::runtime_error("the job has no " + name + ".bin");
    std::vector<Row> rows(static_cast<std::size_t>(file.tellg()) / sizeof(Row));
    file.seekg(0);
    file.read(reinterpret_cast<char*>(rows.data()), rows.size() * sizeof(Row));
    return rows;
}

template <typename Row>
void save(const std::string& directory, const std::string& name, const std::vector<Row>& rows) {
    std::ofstream file(directory + "/" + name + ".bin", std::ios::binary);
    file.write(reinterpret_cast<const char*>(rows.data()), rows.size() * sizeof(Row));
    file.flush();  // a full disk says so now
    if (!file) throw std::runtime_error("cannot write " + name + ".bin");
}

// Ports of up to 64 bits are integers, wider ones arrays of 32-bit words.
template <typename Port>
void put(Port& port, const Word* bits) {
    port = static_cast<Port>(*bits);
}
template <std::size_t N>
void put(VlWide<N>& port, const Word* bits) {
    for (std::size_t i = 0; i < N; ++i)
        port[i] = static_cast<EData>(bits[i / 2] >> (i % 2 ? 32 : 0));
}

template <typename Port>
void append(Words& words, const Port& port) {
    words.push_back(port);
}
template <std::size_t N>
void append(Words& words, const VlWide<N>& port) {
    for (std::size_t i = 0; i < N; i += 2)
        words.push_back(port[i] | (i + 1 < N ? static_cast<Word>(port[i + 1]) << 32 : 0));
}

}  // namespace

#if VM_TRACE_FST
#include "waves.h"
#else
struct Waves {  // of a player that writes none
    Waves(const std::string&, Vengine&) {}
    void start(Word) {}
    void settled(Word) {}
    void risen(Word, Word, bool) {}
    void close() {}
};
#endif

#ifdef UPSETS
#include "upsets.h"
#else
struct Upsets {  // of a circuit in which nothing flips
    explicit Upsets(const std::string&) {}
    void start(Word) {}
    void settled(Word) {}
    void risen(Word) {}
};
#endif

namespace {

// The gaps of a stream: clocks to hold back before every word.
class Gaps {
public:
    explicit Gaps(Words clocks) : clocks_(std::move(clocks)) { wait_ = clocks_[0]; }
    bool open() const { return wait_ == 0; }
    void clock(bool transfer) {
        if (transfer) wait_ = clocks_[++words_ % clocks_.size()];
        else if (wait_) --wait_;
    }

private:
    Words clocks_;
    Word words_ = 0, wait_ = 0;
};

// A queue of words to send, `WIDTH` 64-bit columns each.
template <std::size_t WIDTH>
struct Source {
    Gaps gaps;
    const Word* next = nullptr;
    const Word* end = nullptr;

    explicit Source(Words clocks) : gaps(std::move(clocks)) {}
    bool empty() const { return next == end; }
    Word left() const { return static_cast<Word>(end - next) / WIDTH; }
    void queue(const Word* words, Word count) {
        next = words;
        end = words + count * WIDTH;
    }
    template <typename Payload>
    void drive(Payload& payload, CData& valid) {
        valid = !empty() && gaps.open();
        if (valid) put(payload, next);
    }
    void clock(bool transfer) {
        if (!empty()) gaps.clock(transfer);
        if (transfer) next += WIDTH;
    }
};

struct Sink {
    Gaps gaps;
    Words words;

    explicit Sink(Words clocks) : gaps(std::move(clocks)) {}
    void clock(bool transfer, Word payload) {
        if (transfer) words.push_back(payload);
        gaps.clock(transfer);
    }
};

class Player {
public:
    explicit Player(const std::string& directory)
        : turns_(load<Turn>(directory, "turns")),
          requests_(load<Word>(directory, "requests")),
          poll_(load<Word>(directory, "poll")),
          sample_words_(load<Word>(directory, "samples")),
          request_(load<Word>(directory, "gaps_request")),
          samples_(load<Word>(directory, "gaps_samples")),
          response_(load<Word>(directory, "gaps_response")),
          outputs_(load<Word>(directory, "gaps_outputs")),
          trace_columns_(load<Word>(directory, "trace_columns").at(0)),
          waves_(directory, top_),
          upsets_(directory) {}

    void play() {
        top_.rst = 1;
        for (int i = 0; i < 3; ++i) clock();
        top_.rst = 0;
        const Word* request = requests_.data();
        const Word* sample = sample_words_.data();
        Word outputs = 0;
        for (const Turn& turn : turns_) {
            end_ = clocks_ + turn.limit;
            request_.queue(request, turn.before);
            request += 2 * turn.before;
            while (!request_.empty()) clock();
            start();
            samples_.queue(sample, turn.samples);
            sample += turn.samples;
            outputs += turn.outputs;
            until_done(turn);
            while (!samples_.empty() || outputs_.words.size() < outputs) clock();
            runs_ = false;
            const std::size_t responses = response_.words.size() + turn.after;
            request_.queue(request, turn.after);
            request += 2 * turn.after;
            while (!request_.empty() || response_.words.size() < responses) clock();
            marks_.push_back({outputs_.words.size(), response_.words.size(),
                              trace_columns_ ? trace_.size() / trace_columns_ : 0, clocks_});
        }
        end_ = clocks_ + 65;
        // Words that nobody asked for must have time to show.
        for (int i = 0; i < 64; ++i) clock();
        waves_.close();
    }

    std::string place() const {
        return "pass " + std::to_string(marks_.size()) + " did not finish within " +
               std::to_string(turns_[marks_.size()].limit) + " clocks: " +
               std::to_string(samples_.left()) + " samples not taken, " +
               std::to_string(outputs_.words.size()) + " output words and " +
               std::to_string(response_.words.size()) + " responses given since reset";
    }

    void record(const std::string& directory) const {
        save(directory, "outputs", outputs_.words);
        save(directory, "responses", response_.words);
        save(directory, "trace", trace_);
        save(directory, "marks", marks_);
    }

private:
    void start() {
        runs_ = true;
        waves_.start(marks_.size());
        upsets_.start(clocks_);
    }

    void until_done(const Turn& turn) {
        for (Word pause = turn.first_poll;; pause = turn.poll) {
            for (Word i = 0; i < pause; ++i) clock();
            const std::size_t count = response_.words.size();
            request_.queue(poll_.data(), 1);
            while (response_.words.size() == count) clock();
            const Word status = response_.words.back();
            response_.words.pop_back();
            if (status & DONE) return;
        }
    }

    void clock() {
        if (++clocks_ > end_) throw std::runtime_error(place());
        request_.drive(PORT(request, payload), PORT(request, valid));
        samples_.drive(PORT(samples, payload), PORT(samples, valid));
        PORT(response, ready) = response_.gaps.open();
        PORT(outputs, ready) = outputs_.gaps.open();
        top_.clk = 0;
        top_.eval();
        waves_.settled(clocks_);
        upsets_.settled(clocks_);
        const bool running = !top_.rst;
        const bool request = running && PORT(request, valid) && PORT(request, ready);
        const bool sample = running && PORT(samples, valid) && PORT(samples, ready);
        const bool response = running && PORT(response, valid) && PORT(response, ready);
        const bool output = running && PORT(outputs, valid) && PORT(outputs, ready);
        request_.clock(request);
        samples_.clock(sample);
        response_.clock(response, PORT(response, payload));
        outputs_.clock(output, PORT(outputs, payload));
        if (running && trace_columns_ && top_.trace_valid) append(trace_, top_.trace_bits);
        top_.clk = 1;
        top_.eval();
        waves_.risen(marks_.size(), clocks_, runs_);
        upsets_.risen(clocks_);
    }

    const std::vector<Turn> turns_;
    const Words requests_, poll_, sample_words_;
    Source<2> request_;
    Source<1> samples_;
    Sink response_, outputs_;
    const Word trace_columns_;
    Words trace_;
    std::vector<Mark> marks_;
    Vengine top_;
    Waves waves_;
    Upsets upsets_;
    Word clocks_ = 0, end_ = 1000;
    bool runs_ = false;  // a pass, from its start until its outputs are there
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: player DIRECTORY\n";
        return 2;
    }
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // nobody waits for a recording whose command was killed
#endif
    const std::string directory = argv[1];
    try {
        Player player(directory);
        player.play();
        player.record(directory);
    } catch (const std::exception& error) {
        std::ofstream(directory + "/failure.txt") << error.what();
        std::cerr << error.what() << "\n";
        return 1;
    }
    return 0;
}
