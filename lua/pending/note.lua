#!lua
-- note: let people see that somebody waits for a pending.
--
-- KEYS[1]  waiters   ZSET    {xx}:waiters:<id>, who waits by the time until which that is known
-- ARGV[1]  request   16 bytes, for the echo
-- ARGV[2]  who       for people: a-z, 0-9 and -
-- ARGV[3]  life      ms it is known for
--
-- Returns  {"noted", request}
--
-- Why Lua: the entry and the end of its key come together, or the key stays for ever.
local waiters, request, who, life = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', waiters, string.format('%d', now + life), who)
-- GT alone never gives a fresh key an end; and a shorter life must not shorten the others'.
redis.call('PEXPIRE', waiters, life, 'NX')
redis.call('PEXPIRE', waiters, life, 'GT')
return {'noted', request}
