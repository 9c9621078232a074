"""The steps that tiny tasks are composed of: one phrase and one piece of Python each.

A step maps one value to another; values have one of five types, each with a fixed variable name,
so that steps chain by name: ``xs`` (integers), ``words`` (strings), ``s``, ``d`` (str → int), ``n``.
Every step is total on its type: empty input is a value, not an error.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

Type = Literal["list", "words", "string", "dict", "number"]
VARIABLES: dict[Type, str] = {"list": "xs", "words": "words", "string": "s", "dict": "d", "number": "n"}  # fmt: skip
NAMES: dict[str, Type] = {name: kind for kind, name in VARIABLES.items()}
CONSTANTS = range(2, 7)
"""What ``K`` in a phrase or body may stand for."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Primitive:
    """One step. ``body`` is statements, then an expression as its last line.

    ``wrong`` is a plausible mistake in the same form. A step that has one is *doubtful*: pretraining
    shows both bodies, so the base model knows the step without being sure of it.
    """

    key: str
    source: Type
    target: Type
    phrase: str
    body: str
    wrong: str | None
    algorithm: bool

    @property
    def takes_constant(self) -> bool:
        return re.search(r"\bK\b", self.body) is not None

    def lines(self, constant: int, *, last: bool, wrong: bool = False) -> list[str]:
        """The step's statements, unindented, ending in an assignment or (``last``) a return."""
        body = self.wrong if wrong else self.body
        if body is None:
            raise ValueError(f"{self.key} has no wrong body")
        *statements, value = re.sub(r"\bK\b", str(constant), body).split("\n")
        end = f"return {value}" if last else f"{VARIABLES[self.target]} = {value}"
        return [*statements, end]


# key | types | phrase | body | wrong body, if doubtful. "⏎" separates lines of a body.
_TABLE = """
evens | xs xs | keep the even numbers | [x for x in xs if x % 2 == 0]
odds | xs xs | keep the odd numbers | [x for x in xs if x % 2 == 1]
positives | xs xs | keep the numbers above zero | [x for x in xs if x > 0]
above_k | xs xs | keep the numbers greater than K | [x for x in xs if x > K] | [x for x in xs if x >= K]
at_most_k | xs xs | keep the numbers up to K | [x for x in xs if x <= K] | [x for x in xs if x < K]
without_k | xs xs | drop every K | [x for x in xs if x != K]
double | xs xs | double every number | [2 * x for x in xs]
add_k | xs xs | add K to every number | [x + K for x in xs]
times_k | xs xs | multiply every number by K | [x * K for x in xs]
modulo_k | xs xs | take every number modulo K | [x % K for x in xs]
divide_k | xs xs | divide every number by K, rounding down | [x // K for x in xs] | [int(x / K) for x in xs]
square | xs xs | square every number | [x * x for x in xs]
negate | xs xs | flip the sign of every number | [-x for x in xs]
absolute | xs xs | take absolute values | [abs(x) for x in xs]
reverse | xs xs | reverse the list | xs[::-1]
ascending | xs xs | sort in ascending order | sorted(xs)
descending | xs xs | sort in descending order | sorted(xs, reverse=True) | sorted(xs)[1:][::-1]
by_size | xs xs | sort by absolute value | sorted(xs, key=abs) | sorted(abs(x) for x in xs)
unique | xs xs | remove duplicates, keeping first occurrences | list(dict.fromkeys(xs)) | sorted(set(xs))
squeeze | xs xs | collapse runs of equal items | [x for i, x in enumerate(xs) if i == 0 or x != xs[i - 1]] | list(dict.fromkeys(xs))
once | xs xs | keep the items that occur once | [x for x in xs if xs.count(x) == 1] | [x for x in xs if xs.count(x) > 1]
first_k | xs xs | keep the first K items | xs[:K]
last_k | xs xs | keep the last K items | xs[-K:] | xs[K:]
skip_k | xs xs | skip the first K items | xs[K:]
cut_k | xs xs | cut off the last K items | xs[:-K] | xs[:K]
alternate | xs xs | take every second item, starting with the first | xs[::2] | xs[1::2]
rotate | xs xs | move the first item to the end | xs[1:] + xs[:1] | xs[-1:] + xs[:-1]
mirror | xs xs | append the reversed list | xs + xs[::-1] | xs[::-1] + xs
inner | xs xs | drop the first and last items | xs[1:-1]
cap_k | xs xs | cap every number at K | [min(x, K) for x in xs] | [max(x, K) for x in xs]
weigh | xs xs | multiply each number by its index | [i * x for i, x in enumerate(xs)] | [i * x for i, x in enumerate(xs, 1)]
deltas | xs xs | take the difference of each neighbour pair | [b - a for a, b in zip(xs, xs[1:])] | [a - b for a, b in zip(xs, xs[1:])]
pair_sums | xs xs | add up each neighbour pair | [a + b for a, b in zip(xs, xs[1:])] | [a + b for a, b in zip(xs[::2], xs[1::2])]
pair_max | xs xs | take the larger of each neighbour pair | [max(a, b) for a, b in zip(xs, xs[1:])] | [min(a, b) for a, b in zip(xs, xs[1:])]
peaks | xs xs | keep items larger than both neighbours | [b for a, b, c in zip(xs, xs[1:], xs[2:]) if a < b > c] | [b for a, b, c in zip(xs, xs[1:], xs[2:]) if a > b < c]
rises | xs xs | keep items larger than the one before | [b for a, b in zip(xs, xs[1:]) if b > a] | [a for a, b in zip(xs, xs[1:]) if b > a]
total | xs n | add up the numbers | sum(xs)
size | xs n | count the items | len(xs)
largest | xs n | find the largest number, or 0 | max(xs, default=0)
smallest | xs n | find the smallest number, or 0 | min(xs, default=0)
first | xs n | take the first item, or 0 | xs[0] if xs else 0
final | xs n | take the last item, or 0 | xs[-1] if xs else 0
kinds | xs n | count the distinct numbers | len(set(xs))
count_k | xs n | count how often K occurs | xs.count(K)
span | xs n | find the largest minus the smallest, or 0 | max(xs) - min(xs) if xs else 0 | max(xs) - xs[0] if xs else 0
middle | xs n | take the middle item after sorting, or 0 | sorted(xs)[len(xs) // 2] if xs else 0 | xs[len(xs) // 2] if xs else 0
mean | xs n | find the mean rounded down, or 0 | sum(xs) // len(xs) if xs else 0 | sum(xs) // 2 if xs else 0
runner_up | xs n | find the second largest number, or 0 | sorted(xs)[-2] if len(xs) > 1 else 0 | sorted(xs)[1] if len(xs) > 1 else 0
zigzag | xs n | alternately add and subtract the items | sum(xs[::2]) - sum(xs[1::2]) | sum(xs[1::2]) - sum(xs[::2])
climbs | xs n | count the items larger than the one before | sum(b > a for a, b in zip(xs, xs[1:])) | sum(b >= a for a, b in zip(xs, xs[1:]))
commas | xs s | join the numbers with commas | ",".join(str(x) for x in xs)
stars | xs s | write one star per unit of each number | "".join("*" * x for x in xs) | "*" * len(xs)
running_max | xs xs | replace each item by the largest so far | out = []⏎for x in xs:⏎    out.append(max(x, out[-1]) if out else x)⏎out | out = []⏎for x in xs:⏎    out.append(min(x, out[-1]) if out else x)⏎out | A
running_sum | xs xs | replace each item by the running total | out = []⏎for x in xs:⏎    out.append(x + out[-1] if out else x)⏎out | [sum(xs[:i]) for i in range(len(xs))] | A
record_highs | xs xs | keep the items larger than all before | out = []⏎for x in xs:⏎    if all(x > y for y in out):⏎        out.append(x)⏎out | out = []⏎for x in xs:⏎    if all(x >= y for y in out):⏎        out.append(x)⏎out | A
best_sum | xs n | find the largest sum of a contiguous run, or 0 | best = now = 0⏎for x in xs:⏎    now = max(now + x, 0)⏎    best = max(best, now)⏎best | best = now = 0⏎for x in xs:⏎    now = max(now + x, 0)⏎now | A
longest_rise | xs n | find the length of the longest rising run | best = now = 0⏎for i, x in enumerate(xs):⏎    now = now + 1 if i and x > xs[i - 1] else 1⏎    best = max(best, now)⏎best | best = now = 0⏎for i, x in enumerate(xs):⏎    now = now + 1 if i and x > xs[i - 1] else 0⏎    best = max(best, now)⏎best | A
inversions | xs n | count the pairs in the wrong order | sum(x > y for i, x in enumerate(xs) for y in xs[i + 1:]) | sum(x > y for x, y in zip(xs, xs[1:])) | A
majority | xs n | find the most frequent item, or 0 | max(xs, key=xs.count, default=0) | max(xs, default=0) | A
primes | xs xs | keep the prime numbers | [x for x in xs if x > 1 and all(x % i for i in range(2, x))] | [x for x in xs if all(x % i for i in range(2, x))] | A
upper | s s | convert to upper case | s.upper()
lower | s s | convert to lower case | s.lower()
swapcase | s s | swap upper and lower case | s.swapcase()
backwards | s s | reverse the string | s[::-1]
no_spaces | s s | remove the spaces | s.replace(" ", "")
dashes | s s | replace spaces by dashes | s.replace(" ", "-")
no_vowels | s s | remove the vowels | "".join(c for c in s if c not in "aeiouAEIOU")
head_k | s s | keep the first K characters | s[:K]
tail_k | s s | keep the last K characters | s[-K:] | s[K:]
drop_k | s s | skip the first K characters | s[K:]
repeat_k | s s | repeat the string K times | s * K
stutter | s s | write every character twice | "".join(c * 2 for c in s) | s * 2
letters | s s | keep only letters | "".join(c for c in s if c.isalpha()) | "".join(c for c in s if c != " ")
capitals | s s | keep only upper case letters | "".join(c for c in s if c.isupper()) | "".join(c for c in s if c.islower())
sort_chars | s s | sort the characters | "".join(sorted(s)) | "".join(sorted(set(s)))
novel | s s | drop repeated characters, keeping the first | "".join(dict.fromkeys(s)) | "".join(sorted(set(s)))
odd_chars | s s | take every second character, starting with the first | s[::2] | s[1::2]
rotate_left | s s | move the first character to the end | s[1:] + s[:1] | s[-1:] + s[:-1]
palindrome | s s | append the reversed string | s + s[::-1] | s[::-1] + s
spaced | s s | put a space between characters | " ".join(s) | " ".join(s.split())
bracket | s s | wrap the string in square brackets | "[" + s + "]"
runs | s s | replace each run of a character by one | "".join(c for i, c in enumerate(s) if i == 0 or c != s[i - 1]) | "".join(dict.fromkeys(s)) | A
caesar_k | s s | shift every lower case letter by K, wrapping around | "".join(chr((ord(c) - 97 + K) % 26 + 97) if c.islower() else c for c in s) | "".join(chr(ord(c) + K) if c.islower() else c for c in s) | A
length | s n | count the characters | len(s)
vowels | s n | count the vowels | sum(c in "aeiouAEIOU" for c in s)
capital_count | s n | count the upper case letters | sum(c.isupper() for c in s) | sum(c.isalpha() for c in s)
alphabet | s n | count the distinct characters | len(set(s)) | len(s)
digit_total | s n | add up the digits | sum(int(c) for c in s if c.isdigit()) | sum(c.isdigit() for c in s)
doubles | s n | count the characters equal to the one before | sum(a == b for a, b in zip(s, s[1:])) | len(s) - len(set(s))
split | s words | split into words | s.split()
chars | s words | list the characters | list(s)
bigrams | s words | list the pairs of adjacent characters | [a + b for a, b in zip(s, s[1:])] | [s[i:i + 2] for i in range(0, len(s), 2)]
codes | s xs | list the character codes | [ord(c) for c in s]
tally | s d | count each character | {c: s.count(c) for c in s}
places | s d | map each character to its first index | {c: s.index(c) for c in s} | {c: i for i, c in enumerate(s)}
alphabetic | words words | sort alphabetically | sorted(words)
by_length | words words | sort by length | sorted(words, key=len) | sorted(words)
turned | words words | reverse the order of the words | words[::-1]
shout | words words | convert each word to upper case | [w.upper() for w in words]
flip_each | words words | reverse each word | [w[::-1] for w in words]
long_k | words words | keep words longer than K | [w for w in words if len(w) > K] | [w for w in words if len(w) >= K]
short_k | words words | keep words of at most K characters | [w for w in words if len(w) <= K] | [w for w in words if len(w) < K]
distinct | words words | drop repeated words | list(dict.fromkeys(words)) | sorted(set(words))
initials | words words | keep the first letter of each word | [w[0] for w in words]
endings | words words | keep the last letter of each word | [w[-1] for w in words] | [w[0] for w in words]
title | words words | capitalise each word | [w.capitalize() for w in words]
numbered | words words | prefix each word with its index | [str(i) + w for i, w in enumerate(words)] | [w + str(i) for i, w in enumerate(words)]
sentence | words s | join with spaces | " ".join(words)
hyphenate | words s | join with hyphens | "-".join(words)
longest | words s | find the first longest word | max(words, key=len, default="") | max(words, default="")
acronym | words s | join the first letters in upper case | "".join(w[0] for w in words).upper() | "".join(w[0] for w in words)
word_count | words n | count the words | len(words)
letter_count | words n | add up the lengths of the words | sum(len(w) for w in words) | len(" ".join(words))
lengths | words xs | list the lengths of the words | [len(w) for w in words]
frequencies | words d | count each word | {w: words.count(w) for w in words} | {w: len(w) for w in words}
sizes | words d | map each word to its length | {w: len(w) for w in words}
by_initial | words d | count the words for each first letter | d = {}⏎for w in words:⏎    d[w[0]] = d.get(w[0], 0) + 1⏎d | d = {}⏎for w in words:⏎    d[w[0]] = d.get(w[0], 1) + 1⏎d | A
twice | d d | double every value | {k: 2 * v for k, v in d.items()}
plus_k | d d | add K to every value | {k: v + K for k, v in d.items()}
scaled_k | d d | multiply every value by K | {k: v * K for k, v in d.items()}
gains | d d | keep entries with a positive value | {k: v for k, v in d.items() if v > 0}
over_k | d d | keep entries with a value greater than K | {k: v for k, v in d.items() if v > K} | {k: v for k, v in d.items() if v >= K}
even_values | d d | keep entries with an even value | {k: v for k, v in d.items() if v % 2 == 0}
brief | d d | keep entries with a one-letter key | {k: v for k, v in d.items() if len(k) == 1} | {k: v for k, v in d.items() if v == 1}
loud_keys | d d | convert the keys to upper case | {k.upper(): v for k, v in d.items()}
opposite | d d | flip the sign of every value | {k: -v for k, v in d.items()} | {k: abs(v) for k, v in d.items()}
top | d d | keep entries with the largest value | {k: v for k, v in d.items() if v == max(d.values())} | {k: v for k, v in d.items() if v == min(d.values())}
rare_values | d d | keep entries whose value occurs once | {k: v for k, v in d.items() if list(d.values()).count(v) == 1} | {k: v for k, v in d.items() if v == 1}
shares | d d | replace each value by its percentage of the total, rounded down | total = sum(d.values())⏎{k: 100 * v // total if total else 0 for k, v in d.items()} | total = max(d.values(), default=0)⏎{k: 100 * v // total if total else 0 for k, v in d.items()} | A
ranked | d words | list the keys by rising value | sorted(d, key=d.get) | sorted(d, key=d.get, reverse=True)
keys | d words | list the keys in alphabetical order | sorted(d)
values | d xs | list the values in ascending order | sorted(d.values())
raw_values | d xs | list the values | list(d.values())
key_sizes | d xs | list the lengths of the keys | [len(k) for k in d]
value_sum | d n | add up the values | sum(d.values())
entries | d n | count the entries | len(d)
peak_value | d n | find the largest value, or 0 | max(d.values(), default=0)
winner | d s | find the key with the largest value | max(d, key=d.get, default="") | max(d, default="")
loser | d s | find the key with the smallest value | min(d, key=d.get, default="") | min(d, default="")
record | d s | join the entries as key=value with semicolons | ";".join(f"{k}={v}" for k, v in d.items()) | ";".join(f"{v}={k}" for k, v in d.items())
plus | n n | add K | n + K
times | n n | multiply by K | n * K
modulo | n n | take the remainder modulo K | n % K
squared | n n | square the number | n * n
magnitude | n n | take the absolute value | abs(n)
halve | n n | halve it, rounding down | n // 2
cubed | n n | cube the number | n ** 3
triangle | n n | add up the numbers from 1 to the number | n * (n + 1) // 2 if n > 0 else 0 | n * (n - 1) // 2 if n > 0 else 0
round_k | n n | round down to a multiple of K | n - n % K | n % K
digit_sum | n n | add up its digits | sum(int(c) for c in str(abs(n))) | len(str(abs(n)))
digit_count | n n | count its digits | len(str(abs(n)))
flipped | n n | reverse its digits | int(str(abs(n))[::-1]) | -n
top_digit | n n | find its largest digit | max(int(c) for c in str(abs(n))) | int(str(abs(n))[0])
ones | n n | count the ones in binary | bin(n).count("1") | len(bin(n)) - 2
sign | n n | find the sign as 1, 0 or -1 | (n > 0) - (n < 0) | 1 if n > 0 else -1
digits | n xs | list its digits | [int(c) for c in str(abs(n))]
count_up | n xs | list the numbers from 1 to the number | list(range(1, n + 1))
count_down | n xs | list the numbers from the number down to 1 | list(range(n, 0, -1)) | list(range(n, 1, -1))
multiples_k | n xs | list its first K multiples | [n * i for i in range(1, K + 1)] | [n * i for i in range(K)]
divisors | n xs | list its divisors | [i for i in range(1, n + 1) if n % i == 0] | [i for i in range(1, n) if n % i == 0]
text | n s | write it as text | str(n)
binary | n s | write it in binary | format(n, "b") | format(n, "o")
hexadecimal | n s | write it in hexadecimal | format(n, "x") | format(n, "b")
fibonacci | n n | find the Fibonacci number at that index | a, b = 0, 1⏎for _ in range(n):⏎    a, b = b, a + b⏎a | a, b = 1, 1⏎for _ in range(n):⏎    a, b = b, a + b⏎a | A
collatz | n n | count its Collatz steps down to 1 | i = 0⏎while n > 1:⏎    n = n // 2 if n % 2 == 0 else 3 * n + 1⏎    i += 1⏎i | i = 0⏎while n > 1:⏎    n = n // 2⏎    i += 1⏎i | A
factors | n xs | list its prime factors | xs = []⏎while n > 1:⏎    i = min(i for i in range(2, n + 1) if n % i == 0)⏎    xs.append(i)⏎    n //= i⏎xs | xs = []⏎for i in range(2, n + 1):⏎    if n % i == 0:⏎        xs.append(i)⏎xs | A
prime_list | n xs | list the primes up to the number | [x for x in range(2, n + 1) if all(x % i for i in range(2, x))] | [x for x in range(2, n) if all(x % i for i in range(2, x))] | A
root | n n | find its integer square root, or 0 | i = 0⏎while (i + 1) ** 2 <= n:⏎    i += 1⏎i | i = 0⏎while i ** 2 < n:⏎    i += 1⏎i | A
"""


def _parse(line: str) -> Primitive:
    cells = [cell.strip() for cell in line.split(" | ")]
    key, types, phrase, body, *rest = cells
    source, target = types.split()
    return Primitive(
        key=key,
        source=NAMES[source],
        target=NAMES[target],
        phrase=phrase,
        body=body.replace("⏎", "\n"),
        wrong=rest[0].replace("⏎", "\n") if rest else None,
        algorithm=rest[1:] == ["A"],
    )


PRIMITIVES: tuple[Primitive, ...] = tuple(_parse(row) for row in _TABLE.strip().splitlines())
