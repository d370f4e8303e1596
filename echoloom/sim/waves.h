// Waves of a played script: Verilator's signals of the circuit, and beside them the vectors of the
// program and lanes of text, in one FST file. What to show is told in files of the job's directory;
// `job.py` has their formats.
//
// One clock takes ten nanoseconds: clock n's inputs are there at 10 n - 5, its rising edge is 10 n.

#pragma once

#include <array>
#include <map>

#include "verilated_fst_c.h"

namespace {

constexpr Word IDLE = 0, UNKNOWN = 1, HIDDEN = 2;  // texts that every lane begins with
constexpr Word ENDLESS = ~Word{0};
constexpr std::size_t COLUMNS = 4;  // of an entry, in 64-bit words

struct Window {
    Word turn, section, first, last;
};
struct Place {
    Word lane, address, slot;
};
struct Start {
    Word turn, slot, value;
};
struct Known {
    Word stream, section, columns[COLUMNS], cycles, stage, text;
};
struct Trace {  // where the fields of trace_bits are
    Word drains, head, lane, address, value;
};

struct Shown {
    std::string path;
    int msb, lsb;
    std::size_t slot;
};

inline Word field(const Words& words, Word offset, Word width) {
    Word bits = words[offset / 64] >> offset % 64;
    if (offset % 64 + width > 64) bits |= words[offset / 64 + 1] << (64 - offset % 64);
    return width == 64 ? bits : bits & ((Word{1} << width) - 1);
}

// The instruction of one stream that issues elements now.
class Stream {
public:
    using Key = std::array<Word, COLUMNS + 1>;  // section, entry

    void know(const Known& entry) {
        Key key{entry.section};
        std::copy(entry.columns, entry.columns + COLUMNS, key.begin() + 1);
        known_[key] = entry;
    }
    template <typename Entry>
    void clock(bool begin, Word section, Word iteration, const Entry& entry) {
        if (begun_) {
            left_ = next_.cycles;
            text = next_.text;
            step = next_step_;
        } else if (left_ && left_ != ENDLESS && --left_ == 0) {
            text = IDLE;
        }
        begun_ = begin;
        if (!begin) return;
        words_.clear();
        append(words_, entry);
        Key key{section};
        std::copy(words_.begin(), words_.end(), key.begin() + 1);
        const auto found = known_.find(key);
        next_ = found == known_.end() ? Known{0, 0, {}, ENDLESS, 0, UNKNOWN} : found->second;
        next_step_ = iteration - next_.stage;
    }

    Word text = IDLE, step = 0;

private:
    std::map<Key, Known> known_;
    Known next_{};
    Words words_;
    Word next_step_ = 0, left_ = 0;
    bool begun_ = false;
};

class Waves {
public:
    Waves(const std::string& directory, Vengine& top)
        : directory_(directory),
          top_(top),
          windows_(load<Window>(directory, "windows")),
          starts_(load<Start>(directory, "starts")),
          trace_(load<Trace>(directory, "trace_fields").at(0)) {
        for (const Known& entry : load<Known>(directory, "entries")) {
            streams_[entry.stream].know(entry);
        }
        std::ifstream signals(directory + "/signals.txt"), texts(directory + "/texts.txt");
        for (Shown one; signals >> one.path >> one.msb >> one.lsb >> one.slot;) {
            signals_.push_back(one);
            if (one.slot >= values_.size()) values_.resize(one.slot + 1);
        }
        std::size_t lane;
        for (std::string text; texts >> lane && std::getline(texts >> std::ws, text);) {
            texts_[lane].push_back(text);
        }
        for (const Place& place : load<Place>(directory, "places")) {
            slots_[{place.lane, place.address}] = place.slot;
        }
        Verilated::traceEverOn(true);
        top_.trace(&file_, 99);
        const Word codes = 2 * (LANES.size() + values_.size());
        file_.spTrace()->addInitCb(declare, this, "echoloom", false, codes);
        file_.spTrace()->addFullCb(dump<&VerilatedFst::Buffer::fullQData>, 0, this);
        file_.spTrace()->addChgCb(dump<&VerilatedFst::Buffer::chgQData>, 0, this);
        file_.open((directory + "/waves.fst").c_str());
    }

    // The host has written what a pass needs.
    void start(Word turn) {
        for (const Start& start : starts_)
            if (start.turn == turn) values_[start.slot] = start.value;
    }

    // Everything has settled before a rising edge.
    void settled(Word clock) {
        writes_.clear();
        if (top_.trace_valid) append(writes_, top_.trace_bits);
        if (records_) file_.dump(10 * clock - 5);
    }

    // After the edge; `runs`: a pass does.
    void risen(Word turn, Word clock, bool runs) {
        if (!writes_.empty()) write();
        writes_.clear();
        append(writes_, top_.trace_bits);
        const Word section = field(writes_, 0, 3), iteration = field(writes_, 3, 32);
        streams_[0].clock(top_.mac_begin, section, iteration, top_.mac_entry);
        streams_[1].clock(top_.drain_begin, section, iteration, top_.drain_entry);
        bool records = false;
        for (const Window& w : windows_)
            records |= runs && w.turn == turn && w.section == section && w.first <= iteration &&
                       iteration <= w.last;
        if (!records && !records_) return;
        lanes_ = {FIRST_SECTION + section, iteration, streams_[0].text, streams_[0].step,
                  streams_[1].text, streams_[1].step};
        if (!records) lanes_[0] = lanes_[2] = lanes_[4] = HIDDEN;
        if (records && !records_) spans_.push_back({clock, clock});
        spans_.back()[1] = clock;
        records_ = records;
        file_.dump(10 * clock);
    }

    void close() {
        file_.close();
        save(directory_, "spans", spans_);
    }

private:
    struct Lane {
        const char* name;
        bool text;
    };
    static constexpr Word FIRST_SECTION = HIDDEN + 1;
    static constexpr std::array<Lane, 6> LANES{{{"section", true},
                                                {"iteration", false},
                                                {"multiply", true},
                                                {"multiply_step", false},
                                                {"drain", true},
                                                {"drain_step", false}}};

    void write() {
        Word at = trace_.head;
        for (Word drain = 0; drain < trace_.drains; ++drain) {
            const bool valid = field(writes_, at, 1);
            const Word lane = field(writes_, at + 1, trace_.lane);
            const Word address = field(writes_, at + 1 + trace_.lane, trace_.address);
            at += 1 + trace_.lane + trace_.address;
            const auto slot = slots_.find({lane, address});
            if (valid && slot != slots_.end())
                values_[slot->second] = field(writes_, at, trace_.value);
            at += trace_.value;
        }
    }

    static void declare(void* self, VerilatedFst* file, std::uint32_t code) {
        static_cast<Waves*>(self)->declare(*file, code);
    }
    void declare(VerilatedFst& file, std::uint32_t code) {
        const auto none = VerilatedTraceSigDirection::NONE;
        const auto kind = VerilatedTraceSigKind::VAR;
        const auto type = VerilatedTraceSigType::LOGIC;
        code_ = code;
        open(file, {"echoloom", "lanes"});
        for (std::size_t lane = 0; lane < LANES.size(); ++lane, code += 2) {
            int table = 0;
            if (LANES[lane].text) tables(file, table = static_cast<int>(lane) + 1);
            file.declQuad(code, LANES[lane].name, table, none, kind, type, BITS - 1, 0);
        }
        for (const Shown& one : signals_) {
            std::vector<std::string> scopes{"echoloom"};
            std::size_t from = 0;
            for (std::size_t dot; (dot = one.path.find('.', from)) != std::string::npos;
                 from = dot + 1)
                scopes.push_back(one.path.substr(from, dot - from));
            open(file, scopes);
            file.declQuad(code + 2 * one.slot, one.path.c_str() + from, 0, none, kind, type,
                          one.msb, one.lsb);
        }
        open(file, {});
    }
    // Enter these scopes, leaving others.
    void open(VerilatedFst& file, const std::vector<std::string>& scopes) {
        std::size_t same = 0;
        while (same < scopes.size() && same < scopes_.size() && scopes[same] == scopes_[same])
            ++same;
        for (; scopes_.size() > same; scopes_.pop_back()) file.popPrefix();
        for (; scopes_.size() < scopes.size(); scopes_.push_back(scopes[scopes_.size()]))
            file.pushPrefix(scopes[scopes_.size()].c_str(), VerilatedTracePrefixType::SCOPE_MODULE);
    }
    // A lane's texts by number.
    void tables(VerilatedFst& file, int lane) {
        std::vector<const char*> names, numbers;
        std::vector<std::string> kept;
        for (std::size_t text = 0; text < texts_[lane - 1].size(); ++text) {
            std::string bits;
            for (int bit = BITS; bit--;) bits += text >> bit & 1 ? '1' : '0';
            kept.push_back(bits);
        }
        for (std::size_t text = 0; text < kept.size(); ++text) {
            names.push_back(texts_[lane - 1][text].c_str());
            numbers.push_back(kept[text].c_str());
        }
        file.declDTypeEnum(lane, LANES[lane - 1].name, names.size(), BITS, names.data(),
                           numbers.data());
    }
    template <void (VerilatedFst::Buffer::*put)(std::uint32_t*, QData, int)>
    static void dump(void* self, VerilatedFst::Buffer* buffer) {
        const Waves& own = *static_cast<Waves*>(self);
        std::uint32_t code = own.code_;
        for (const Word value : own.lanes_) {
            (buffer->*put)(buffer->oldp(code), value, BITS);
            code += 2;
        }
        for (const Word value : own.values_) {
            (buffer->*put)(buffer->oldp(code), value, static_cast<int>(own.trace_.value));
            code += 2;
        }
    }

    static constexpr int BITS = 32;  // of a lane

    const std::string directory_;
    Vengine& top_;
    const std::vector<Window> windows_;
    const std::vector<Start> starts_;
    const Trace trace_;
    std::array<Stream, 2> streams_;
    std::vector<Shown> signals_;
    std::array<std::vector<std::string>, LANES.size()> texts_;
    std::map<std::pair<Word, Word>, Word> slots_;
    Words values_, writes_;
    std::array<Word, LANES.size()> lanes_{};
    std::vector<std::string> scopes_;
    std::vector<std::array<Word, 2>> spans_;  // first and last clock of what is recorded
    std::uint32_t code_ = 0;
    bool records_ = false;
    VerilatedFstC file_;
};

}  // namespace
