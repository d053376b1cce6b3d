#!lua
-- append: tell an event that comes with no change of a record.
--
-- KEYS[1]   outbox    STREAM  {xx}:outbox, there only while somebody is to be told
-- KEYS[2]   history   STREAM  {xx}:history
-- KEYS[3]   receipt   STRING  {xx}:rcpt:<request digest>
-- ARGV[1]   request   16 bytes, digest of the request id
-- ARGV[2]   type      what happened, a word
-- ARGV[3]   kind      to what kind of thing, a word
-- ARGV[4]   id        to which of them
-- ARGV[5]   name      slug of the connector, or name of the client
-- ARGV[6]   owner     32 hex, digest of the owner; empty for none
-- ARGV[7]   actor     by whom, a word
-- ARGV[8]   host      of the provider; empty for none
-- ARGV[9]   detail    word=value pairs, sanitised, at most 400 characters
-- ARGV[10]  grace     ms a receipt lives
--
-- Returns  {"told", request}   also on a retry
--
-- Why Lua: both streams and the receipt come together, and a retry tells nothing twice.
local outbox, history, receipt, request, grace = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[10]
-- include: event/note

local note = teller(outbox, history, ARGV[7], ARGV[8])
if redis.call('GET', receipt) then return {'told', request} end
must_be_allowed('SET', receipt)
local time = redis.call('TIME')
local stamp = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
note(ARGV[2], {ARGV[3], ARGV[4], ARGV[5], ARGV[6]}, stamp, ARGV[9])
redis.call('SET', receipt, '1', 'PX', grace)
return {'told', request}
