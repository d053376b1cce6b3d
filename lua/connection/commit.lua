#!lua flags=allow-oom
-- commit: store what the provider answered, judged by grant and lineage.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  due       ZSET  {xx}:due, ids by next_at
-- KEYS[3]  sealed    ZSET  {xx}:sealed, what is sealed by the key that sealed it
-- KEYS[4]  outbox    STREAM  {xx}:outbox
-- KEYS[5]  history   STREAM  {xx}:history
-- ARGV[1]  request   32 hex, digest of the commit's request id
-- ARGV[2]  id        the connection
-- ARGV[3]  fence     of the attempt
-- ARGV[4]  grant     that the attempt began under
-- ARGV[5]  presented 32 hex, digest of the refresh token that was presented
-- ARGV[6]  secret    sealed
-- ARGV[7]  key       8 hex, which key of the ring sealed it
-- ARGV[8]  token     32 hex, digest of the new refresh token; empty: none
-- ARGV[9]  expires   ms the access token lives; empty: undisclosed
-- ARGV[10] ends      ms the refresh token lives; empty: undisclosed
-- ARGV[11] next      ms until the next refresh; empty: never
-- ARGV[12] answered  ms since the exchange that brought it began: what began later is later
-- ARGV[13] actor     who refreshed it, for the events
-- ARGV[14] host      the provider's, for the events; may be empty
--
-- Returns  {"committed", request, ver, recovered}   recovered: 1 if it was not active
--          {"withdrawn", request, ver}   stored, and still an orphan: nobody may have it
--          {"already", request, ver}   this very commit, however late; the current ver
--          {"alt", request}            a sibling is current; this is kept beside it
--          {"superseded", request}     another answer is current
--          {"refused", request}        the grant changed: perhaps another account's secret
--          {"gone", request}
--
-- Why Lua: judging and storing must be one step, or a rotated token is overwritten by an older one.
local conn, due, sealed = KEYS[1], KEYS[2], KEYS[3]
local request, id, fence, grant, presented = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local token, next_in, answered = ARGV[8] ~= '' and ARGV[8], ARGV[11], ARGV[12]
-- include: connection/record
-- include: event/note

local was, held = read(conn, {'status', 'grant', 'committed', 'ver', 'base', 'refused', 'next_at',
  'att_fence', 'owner', 'connector', 'reason', 'was'})
redis.call('ZSCORE', due, id)
redis.call('ZSCORE', sealed, 'conn:' .. id)
local note = teller(KEYS[4], KEYS[5], ARGV[13], ARGV[14])
if not was[1] then return {'gone', request} end
-- An orphan is judged as what it was, and stays one.
local status = was[1] == 'orphaned' and was[12] or was[1]
local active, dead, orphan = status == 'active', status == 'needs_reauth', was[1] == 'orphaned'
local ver, refused = tonumber(was[4]) or 0, was[6] or ''
if was[3] and was[3]:find(request, 1, true) then return {'already', request, ver} end
if was[2] ~= grant then return {'refused', request} end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = string.format('%d', now)
local function after(ms) return ms ~= '' and string.format('%d', now + ms) end
local function asked(answer) return tonumber(answer[6]) or 0 end
local new = {ARGV[6], ARGV[7], token, after(ARGV[9]), after(ARGV[10]), after(-answered)}

-- Accepted whatever the fence says is an answer to the token of any that is held, or to one that
-- another attempt was refused with: it is the freshest there is, and throwing a rotated token away
-- bricks the account.
local proven = refused:find(presented, 1, true)
for _, answer in ipairs(held) do proven = proven or answer[3] == presented end
local place, kept = 1, {}
if proven then
  -- Not rotated: of two access tokens the later is current.
  local same = token == held[1][3]
  if same and asked(new) <= asked(held[1]) then return {'superseded', request} end
elseif was[5] ~= presented or refused:find(token or presented, 1, true) then
  return {'superseded', request}
elseif not dead then
  -- A sibling: nobody knows which of them lives. The later one is the better guess.
  for _, other in ipairs(held) do
    local same = other[3] == token
    if same and asked(other) >= asked(new) then return {'superseded', request} end
    if other[3] and not same then kept[#kept + 1] = other end
  end
  while kept[place] and asked(kept[place]) >= asked(new) do place = place + 1 end
  if place > 3 or place > 1 and not token then return {'superseded', request} end
end
table.insert(kept, place, new)

must_be_allowed('HDEL', conn)
-- Told first: nobody reads before this is done, and a missing right fails here.
if place == 1 then redis.call('PUBLISH', conn:match('^[^:]+') .. ':changed', id) end
-- The indexes first, then all that is new in one HSET: where a right is missing half-way, nothing
-- is lost, and a retry does the rest. Not HINCRBY: it could fail on what it finds.
local next_at, decided = was[7], was[8] == fence
if place == 1 then
  next_at = after(next_in)
  -- A sibling of what is dead: proven by using it, at once.
  if dead and not proven then next_at = stamp end
end
local waits = next_at and not orphan
if waits and (place == 1 or decided) then redis.call('ZADD', due, next_at, id) end
if place == 1 and not waits then redis.call('ZREM', due, id) end
index_answers(sealed, id, kept)
-- The last four receipts, so that a late retry does not find its own overwritten.
put('committed', request .. ' ' .. (was[3] or ''):sub(1, 98))
put('updated_at', stamp)
put_answers(kept)
if place == 1 then
  put(orphan and 'was' or 'status', 'active')
  for field, value in pairs({ver = ver + 1, base = presented, attempts = 0}) do put(field, value) end
  put('next_at', next_at)
  clear({orphan and 'was_reason' or 'reason', 'last_error', 'error_at', 'failing_at'})
  if not active and not orphan then put('status_at', stamp) end
  if proven then put('refused', false) end
end
if decided then
  clear(LEASE)
  clear(ATTEMPT)
end
redis.call('HSET', conn, unpack(set)) -- at most 52
if place == 1 then
  local subject = {'connection', id, was[10], was[9]}
  note('refresh_succeeded', subject, stamp, words('ver', ver + 1,
    'rotated', token and token ~= presented and 'yes' or 'no', 'before', held[1][4],
    'after', new[4], 'duration_ms', answered))
  if not active and not orphan then
    note('recovered', subject, stamp, words('from', was[1], 'reason', was[11]))
  end
end
if #drop > 0 then redis.call('HDEL', conn, unpack(drop)) end -- at most 30
if place > 1 then return {'alt', request} end
if orphan then return {'withdrawn', request, ver + 1} end
return {'committed', request, ver + 1, active and 0 or 1}
