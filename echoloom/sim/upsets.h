// Flips one bit of a played circuit. The job's upset.txt says of what: scope, variable, bit (counted
// from bit 0 of element 0 on) and the clock after whose rising edge. An upset.txt of one word, "list",
// has all variables written to variables.txt instead: scope, name, bits of an element, elements; and
// the clocks in which passes start to starts.txt.
//
// What is no register has its value back before the next edge; kept.txt says whether the bit stayed.

#pragma once

#include <cstdint>
#include <fstream>
#include <string>

#include "verilated_syms.h"

namespace {

class Upsets {
public:
    explicit Upsets(const std::string& directory) : directory_(directory) {
        std::ifstream file(directory + "/upset.txt");
        file >> scope_;
        lists_ = scope_ == "list";
        flips_ = static_cast<bool>(file >> variable_ >> bit_ >> clock_);
        if (lists_) list();
    }
    void start(Word clock) {
        if (lists_) std::ofstream(directory_ + "/starts.txt", std::ios::app) << clock << "\n";
    }
    void settled(Word clock) {
        if (flips_ && clock == clock_ + 1)
            std::ofstream(directory_ + "/kept.txt") << (value() == flipped_) << "\n";
    }
    void risen(Word clock) {
        if (!flips_ || clock != clock_) return;
        byte() ^= static_cast<std::uint8_t>(1 << offset() % 8);
        flipped_ = value();
    }

private:
    static Word elements(const VerilatedVar& variable) {
        return variable.totalSize() / variable.entSize();
    }
    void list() const {
        std::ofstream file(directory_ + "/variables.txt");
        for (const auto& scope : *Verilated::scopeNameMap()) {
            if (!scope.second->varsp()) continue;
            for (const auto& [name, variable] : *scope.second->varsp())
                file << scope.first << " " << name << " " << variable.entBits() << " "
                     << elements(variable) << "\n";
        }
    }
    const VerilatedVar& variable() const {
        const VerilatedScope* scope = Verilated::scopeFind(scope_.c_str());
        const VerilatedVar* found = scope ? scope->varFind(variable_.c_str()) : nullptr;
        if (!found) throw std::runtime_error("no variable " + scope_ + " " + variable_);
        return *found;
    }
    Word offset() const { return bit_ % variable().entBits(); }
    std::uint8_t& byte() const {
        const VerilatedVar& of = variable();
        auto* data = static_cast<std::uint8_t*>(of.datap());
        return data[bit_ / of.entBits() * of.entSize() + offset() / 8];
    }
    bool value() const { return byte() >> offset() % 8 & 1; }

    const std::string directory_;
    std::string scope_, variable_;
    Word bit_ = 0, clock_ = 0;
    bool lists_ = false, flips_ = false, flipped_ = false;
};

}  // namespace
