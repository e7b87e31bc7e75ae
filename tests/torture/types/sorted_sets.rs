//! Ops on sorted sets.

pub const LINES: &[&str] = &[
    "DEL z y",
    "ZADD z 1 a",
    "ZADD z 2 b 3 c 4 d 5 e 6 f -inf g inf h",
    "ZADD z GT CH 2.5 b 1 c",
    "ZINCRBY z 0.1 a",
    "ZADD z 7 %50 8 %300",
    "ZREM z a b",
    "ZREMRANGEBYRANK z 0 0",
    "ZREMRANGEBYSCORE z 3 4",
    "ZPOPMAX z",
    "ZPOPMIN z 2",
    "ZADD x 1 %600 2 %600 3 m",
    "ZUNIONSTORE y 2 z x WEIGHTS 2 -1",
    "ZRANGESTORE x y 0 1",
    "ZINTERSTORE y 2 y x",
    "@1 BZPOPMIN waits 0",
    "ZADD waits 1 a 2 b",
    "ZPOPMAX waits",
];
