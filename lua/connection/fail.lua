#!lua flags=allow-oom
-- fail: record a failed exchange, judged by its fence.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  due       ZSET  {xx}:due, ids by next_at
-- KEYS[3]  sealed    ZSET  {xx}:sealed, what is sealed by the key that sealed it
-- KEYS[4]  outbox    STREAM  {xx}:outbox
-- KEYS[5]  history   STREAM  {xx}:history
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  id        the connection
-- ARGV[3]  fence     of the attempt
-- ARGV[4]  grant     that the attempt began under
-- ARGV[5]  presented 32 hex, digest of the refresh token that was presented
-- ARGV[6]  kind      transient | undecided | needs_reauth | host: not the credential's fault
-- ARGV[7]  reason    sanitised, at most 200 characters
-- ARGV[8]  backoff   ms until the next try
-- ARGV[9]  horizon   ms of failures in a row until it is given up; empty: never
-- ARGV[10] actor     who tried, for the events
-- ARGV[11] host      the provider's, for the events; may be empty
--
-- Returns  {"recorded", request, attempts}   also on a retry with the same request id
--          {"switched", request, attempts}   needs_reauth, but a sibling was kept: now current, due
--          {"exhausted", request, attempts}  given up: it failed for as long as the horizon
--          {"stale", request}                a newer attempt, grant or secret judges
--          {"gone", request}
--
-- Why Lua: a verdict on an old attempt must never condemn what a newer one has saved.
local conn, due, sealed = KEYS[1], KEYS[2], KEYS[3]
local request, id, fence, grant, presented = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local kind, reason, backoff, horizon = ARGV[6], ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
-- include: connection/record
-- include: event/note

local was, held = read(conn, {'status', 'grant', 'att_fence', 'attempts', 'failed', 'lease', 'ver',
  'refused', 'failing_at', 'att_first', 'owner', 'connector'})
redis.call('ZSCORE', due, id)
redis.call('ZSCORE', sealed, 'conn:' .. id)
local note = teller(KEYS[4], KEYS[5], ARGV[10], ARGV[11])
if not was[1] then return {'gone', request} end
local active, attempts, dead = was[1] == 'active', tonumber(was[4]) or 0, kind == 'needs_reauth'
local host = kind == 'host'
if was[5] == request then
  if dead and active then return {'switched', request, attempts} end
  if was[1] == 'exhausted' then return {'exhausted', request, attempts} end
  return {'recorded', request, attempts}
end
local current = was[2] == grant and was[3] == fence and held[1][3] == presented
-- An attempt without a lease has been decided before: by its own commit, or by another fail.
if not active or not current or not was[6] then return {'stale', request} end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = string.format('%d', now)
if not host then attempts = attempts + 1 end
local switched = dead and held[2] and held[2][3]
local failing = tonumber(was[9]) or now
local exhausted = not dead and not host and horizon and now - failing >= horizon
local next_at = switched and stamp
if not dead and not exhausted then next_at = string.format('%d', now + backoff) end

must_be_allowed('HDEL', conn)
-- Told first: nobody reads before this is done, and a missing right fails here.
if switched or not next_at then redis.call('PUBLISH', conn:match('^[^:]+') .. ':changed', id) end
-- The indexes first, then all that is new in one HSET: where a right is missing half-way, nothing
-- is lost, and a retry does the rest. Not HINCRBY: it could fail on what it finds.
if next_at then redis.call('ZADD', due, next_at, id) else redis.call('ZREM', due, id) end
put('attempts', attempts)
put('failed', request)
put('updated_at', stamp)
clear(LEASE)
-- What the host is refused for is not the credential's: it is only looked at later.
if not host then
  put('next_at', next_at)
  put('last_error', reason)
  put('error_at', stamp)
  put('failing_at', string.format('%d', failing))
end
if switched then
  table.remove(held, 1)
  index_answers(sealed, id, held)
  put('ver', (tonumber(was[7]) or 0) + 1)
  put_answers(held)
elseif not next_at then
  put('status', dead and 'needs_reauth' or 'exhausted')
  put('reason', reason)
  put('status_at', stamp)
end
-- At most three siblings can have been refused: an answer that still comes to one proves it lives.
if dead then put('refused', (presented .. ' ' .. (was[8] or '')):sub(1, 98)) end
-- A lost answer leaves the attempt on record: whoever begins next must know.
if kind ~= 'undecided' and not (host and was[10] ~= fence) then clear(ATTEMPT) end
redis.call('HSET', conn, unpack(set)) -- at most 34
local subject = {'connection', id, was[12], was[11]}
if not host then
  note(dead and 'refresh_failed_revoked' or 'refresh_failed_transient', subject, stamp,
    words('attempts', attempts, 'class', kind, 'sibling', switched and 'yes', 'reason', reason))
end
-- Given up is told as what it is for the owner, with its own reason.
if not next_at then
  note('needs_reauth', subject, stamp, words('reason', dead and reason or 'exhausted',
    'last_error', not dead and reason))
end
redis.call('HDEL', conn, unpack(drop)) -- at most 20
if switched then return {'switched', request, attempts} end
if exhausted then return {'exhausted', request, attempts} end
return {'recorded', request, attempts}
