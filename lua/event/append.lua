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
-- ARGV[10]  kept      events that an outbox keeps at the most, about
-- ARGV[11]  told      events that a history keeps at the most, about
-- ARGV[12]  grace     ms a receipt lives
--
-- Returns  {"told", request}   also on a retry
--
-- Why Lua: both streams and the receipt come together, and a retry tells nothing twice.
local outbox, history, receipt = KEYS[1], KEYS[2], KEYS[3]
local request, kept, told, grace = ARGV[1], ARGV[10], ARGV[11], ARGV[12]

redis.call('XLEN', outbox)
redis.call('XLEN', history)
if redis.call('GET', receipt) then return {'told', request} end
local time = redis.call('TIME')
local now = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
local fields = {'type', ARGV[2], 'kind', ARGV[3], 'id', ARGV[4], 'name', ARGV[5], 'owner', ARGV[6],
  'actor', ARGV[7], 'host', ARGV[8], 'at', now, 'detail', ARGV[9]}
local id = redis.call('XADD', history, 'MAXLEN', '~', told, '*', unpack(fields))
-- The same id in both, unless the history was removed while the clock jumped back.
local same = redis.pcall('XADD', outbox, 'NOMKSTREAM', 'MAXLEN', '~', kept, id, unpack(fields))
if type(same) == 'table' and same.err then
  redis.call('XADD', outbox, 'NOMKSTREAM', 'MAXLEN', '~', kept, '*', unpack(fields))
end
redis.call('SET', receipt, id, 'PX', grace)
return {'told', request}
