-- record: the fields of a connection that change together. A part of scripts, not one.
--
-- What a provider gave is an *answer*: the current one, and up to two siblings of it. Each is a list
-- of values in the order of these fields, with false for what is not there.
local ANSWERS = {
  {'secret', 'key', 'token', 'expires_at', 'refresh_expires_at', 'answered_at'},
  {'alt_secret', 'alt_key', 'alt_token', 'alt_expires_at', 'alt_refresh_expires_at',
    'alt_answered_at'},
  {'alt2_secret', 'alt2_key', 'alt2_token', 'alt2_expires_at', 'alt2_refresh_expires_at',
    'alt2_answered_at'},
}
local LEASE = {'lease', 'lease_by', 'lease_ends_at'}
local ATTEMPT = {'att_token', 'att_fence', 'att_first', 'att_at'}

-- These fields, and the answers: the current one even if there is nothing in it.
local function read(conn, fields)
  local own, held = #fields, {}
  for _, answer in ipairs(ANSWERS) do
    for _, field in ipairs(answer) do fields[#fields + 1] = field end
  end
  local was = redis.call('HMGET', conn, unpack(fields)) -- at most 40
  for at = own + 1, own + 13, 6 do
    if at == own + 1 or was[at] then held[#held + 1] = {unpack(was, at, at + 5)} end
  end
  return was, held
end

-- What is to be written: one HSET of all that is new, and one HDEL of what is no more.
local set, drop = {}, {}
local function put(field, value)
  local list = value and set or drop
  list[#list + 1] = field
  if value then list[#list + 1] = value end
end
local function clear(fields)
  for _, field in ipairs(fields) do put(field, false) end
end
local function put_answers(kept)
  for at, fields in ipairs(ANSWERS) do
    for n, field in ipairs(fields) do put(field, kept[at] and kept[at][n]) end
  end
end

-- Which key of the ring sealed each of what is held.
local function index_answers(sealed, id, kept)
  for at, kind in ipairs({'conn', 'alt', 'alt2'}) do
    local answer, member = kept[at], kind .. ':' .. id
    if answer and answer[1] then
      redis.call('ZADD', sealed, tonumber(answer[2] or '', 16) or 0, member)
    else
      redis.call('ZREM', sealed, member)
    end
  end
end
