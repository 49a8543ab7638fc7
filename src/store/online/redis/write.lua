-- Writes entities, last write wins by observed time, per feature. Atomic, as every script is.
--
-- KEYS: one hash an entity. ARGV, for each: a header, then its fields, CHUNK an argument. The header is three
-- numbers of 64 bits (oldest observed time, newest observed time, latest expiry, all bits set for never)
-- and the number of fields in 32. The client sets the oldest time to 0 where one of the fields had
-- expired: such a row is read with care. Fields are texts of MessagePack one behind the other, field and value
-- in turn, because a thousand arguments a call cost client and server more than taking them apart here. A
-- value is observed time, expiry (0 for never) and MessagePack of its own.
--
-- The field with the empty name is the guard: newest observed time and latest expiry of all fields.
-- A row that is newer than the guard in every field, and lives as long, is written unread.
--
-- Returns: values stored, values not stored, then position of an entity and its error, in turn.
--
-- Times are compared as two halves of 32 bits, because Lua's numbers are doubles, and values byte by
-- byte, because Lua compares text by the server's locale.

local unpack_numbers, sub, byte, texts = struct.unpack, string.sub, string.byte, cmsgpack.unpack
local CHUNK = 1000 -- fields a command, and an argument; Lua can hand over some 8,000 values at once
local NEVER = '\255\255\255\255\255\255\255\255'
local NONE = '\0\0\0\0\0\0\0\0'
local NULL = '\192'
local GUARD = ''
local FIELDS_EXPIRE = false -- whether the server has HPEXPIREAT; set before the script is loaded
local MINUTE = 60000

local asked_time
local function now()
  if not asked_time then
    local time = redis.call('TIME')
    asked_time = tonumber(time[1]) * 1000000 + tonumber(time[2])
  end
  return asked_time
end

local function later(a, b)
  if a == b then return false end
  local a_high, a_low = unpack_numbers('>I4I4', a)
  local b_high, b_low = unpack_numbers('>I4I4', b)
  return a_high > b_high or (a_high == b_high and a_low > b_low)
end

-- As a double: near enough to be compared with the clock, never to be compared with another time.
local function micros(text)
  local high, low = unpack_numbers('>I4I4', text)
  return high * 4294967296 + low
end

local function expiry(value)
  local at = sub(value, 9, 16)
  return at == NONE and NEVER or at
end

local function failed(reply)
  return type(reply) == 'table' and reply.err
end

-- Runs a command with the arguments of a list, some at a time.
local function in_chunks(command, key, list)
  for at = 1, #list, CHUNK do
    local err = failed(redis.pcall(command, key, unpack(list, at, math.min(at + CHUNK - 1, #list))))
    if err then return err end
  end
end

-- The fields of an entity as one list, field and value in turn; they are in the arguments from one index to another.
local function fields_of(from, to)
  local list = { texts(ARGV[from]) }
  for at = from + 1, to do
    for _, text in ipairs({ texts(ARGV[at]) }) do list[#list + 1] = text end
  end
  return list
end

local function expire(key, at, before)
  if at == before then return end
  if at == NEVER then
    if before then redis.call('PERSIST', key) end
  else
    redis.call('PEXPIREAT', key, string.format('%.0f', math.ceil(micros(at) / 1000)))
  end
end

-- Where fields can expire by themselves, one that the key outlives does, so that it takes no room any
-- longer. Readers go by the expiry in the value; the server's comes up to a minute after it, so that
-- values that end at nearly the same time cost one command, and it costs nothing where the whole hash
-- ends with its key. A hash in which fields expire takes more room and time, so it is no matter of course.
local function expiry_of_fields()
  -- The expiry of a field by itself, in milliseconds; nothing where it never expires.
  local function field_end(value)
    local at = sub(value, 9, 16)
    if at == NONE then return nil end
    return math.ceil(micros(at) / 1000 / MINUTE) * MINUTE
  end

  -- Sets the expiry of fields; their values follow their names in the list.
  local function expire_fields(key, list)
    local ends = {}
    for at = 1, #list, 2 do
      local value = list[at + 1]
      local ending = list[at] ~= GUARD and #value >= 16 and field_end(value)
      if ending and ending * 1000 > now() then
        local names = ends[ending]
        if names then names[#names + 1] = list[at] else ends[ending] = { list[at] } end
      end
    end
    for ending, names in pairs(ends) do
      for at = 1, #names, CHUNK do
        local last = math.min(at + CHUNK - 1, #names)
        redis.call('HPEXPIREAT', key, string.format('%.0f', ending), 'FIELDS', last - at + 1, unpack(names, at, last))
      end
    end
  end

  -- The one expiry of all values of a list; nothing where there are several, and true where none expires.
  local function common_end(list)
    local first = sub(list[2], 9, 16)
    for at = 4, #list, 2 do
      local other = sub(list[at], 9, 16)
      if other ~= first and field_end(list[at]) ~= field_end(list[2]) then return nil end
    end
    return first == NONE and true or first
  end

  -- Before fields are written: whether those of the hash have expiries of their own already. Once any has,
  -- all that expire have; so one of those that are to be written stands for them.
  local function fields_expire_already(key, list)
    for at = 1, #list, 2 do
      if sub(list[at + 1], 9, 16) ~= NONE then
        return redis.call('HLEN', key) > #list / 2 + 1
          and redis.call('HPEXPIRETIME', key, 'FIELDS', 1, list[at])[1] > 0
      end
    end
    return false
  end

  -- After fields were written: sees to it that all that expire do so by themselves, unless they go with the key.
  local function keep_expiring(key, list, already, latest, before)
    local ending = common_end(list)
    local outlives = before and before ~= NEVER and later(latest, before)
    if ending == true and (already or not outlives) then return end
    local whole = not already and redis.call('HLEN', key) == #list / 2 + 1
    if whole and ending then return end
    if whole or already then
      expire_fields(key, list)
    else
      expire_fields(key, redis.call('HGETALL', key))
    end
  end

  return fields_expire_already, keep_expiring
end

local fields_expire_already, keep_expiring
if FIELDS_EXPIRE then fields_expire_already, keep_expiring = expiry_of_fields() end

-- The way of rows that are not simply newer. Made only where one comes: most calls have none, and of a call
-- of one entity, as in a cluster, making these functions was 6 % of the server's time.
local function careful_way()
  local function rank(encoded)
    if encoded == '' then return 0 end
    return encoded == NULL and 1 or 2
  end

  local function larger(a, b)
    local a_rank, b_rank = rank(a), rank(b)
    if a_rank ~= b_rank then return a_rank > b_rank end
    for at = 1, math.min(#a, #b) do
      local one, other = byte(a, at), byte(b, at)
      if one ~= other then return one > other end
    end
    return #a > #b
  end

  local function wins(new, old)
    local new_time, old_time = sub(new, 1, 8), sub(old, 1, 8)
    if new_time ~= old_time then return later(new_time, old_time) end
    local new_value, old_value = sub(new, 17), sub(old, 17)
    if new_value ~= old_value then return larger(new_value, old_value) end
    return later(expiry(new), expiry(old))
  end

  -- Newest time and latest expiry of what is stored; nothing where no field is left.
  local function measure(key)
    local all = redis.call('HGETALL', key)
    local newest, latest
    for at = 1, #all, 2 do
      local value = all[at + 1]
      if all[at] ~= GUARD and #value >= 16 then
        local observed, expires = sub(value, 1, 8), expiry(value)
        if not newest or later(observed, newest) then newest = observed end
        if not latest or later(expires, latest) then latest = expires end
      end
    end
    return newest, latest
  end

  -- Each field against what is stored of it. Returns what was stored, or nothing and an error.
  return function(key, guard, list, newest)
    local old = {}
    local names = {}
    for at = 1, #list, 2 do names[#names + 1] = list[at] end
    for at = 1, #names, CHUNK do
      local reply = redis.pcall('HMGET', key, unpack(names, at, math.min(at + CHUNK - 1, #names)))
      if failed(reply) then return nil, reply.err end
      for _, value in ipairs(reply) do old[#old + 1] = value end
    end

    local before = guard and sub(guard, 9, 16)
    local writes, deletes, latest, shorter = {}, {}, NONE, false
    for index, name in ipairs(names) do
      local new, standing = list[index * 2], old[index]
      if standing and #standing < 16 then
        return nil, 'WRONGTYPE a field of the hash is not of this layout'
      end
      local expires = expiry(new)
      local alive = expires == NEVER or micros(expires) > now()
      if (not standing and alive) or (standing and wins(new, standing)) then
        if alive then
          writes[#writes + 1] = name
          writes[#writes + 1] = new
          if later(expires, latest) then latest = expires end
        else
          deletes[#deletes + 1] = name
        end
        -- What set the expiry of the whole key may be gone.
        if standing and expiry(standing) == before then shorter = true end
      end
    end
    if #writes == 0 and #deletes == 0 then return 0 end
    local already = FIELDS_EXPIRE and #writes > 0 and fields_expire_already(key, writes)

    local err = in_chunks('HSET', key, writes) or in_chunks('HDEL', key, deletes)
    if err then return nil, err end
    if not guard or (shorter and later(before, latest)) then
      local measured
      measured, latest = measure(key)
      -- Times of fields that are gone still count: an older bound costs nothing but a reading.
      if measured and later(measured, newest) then newest = measured end
    elseif later(before, latest) then
      latest = before
    end
    if not latest or (latest ~= NEVER and micros(latest) <= now()) then
      redis.call('DEL', key)
    else
      if guard and later(sub(guard, 1, 8), newest) then newest = sub(guard, 1, 8) end
      redis.call('HSET', key, GUARD, newest .. latest)
      expire(key, latest, before or NONE) -- without a guard the key may have any expiry
      if FIELDS_EXPIRE and #writes > 0 then keep_expiring(key, writes, already, latest, before) end
    end
    return #writes / 2
  end
end

local careful
local function compare(...)
  careful = careful or careful_way()
  return careful(...)
end

-- Returns how many values were stored, or nothing and an error.
local function write(key, header, count, from, to)
  local guard = redis.pcall('HGET', key, GUARD)
  if failed(guard) then return nil, guard.err end
  if guard and #guard ~= 16 then return nil, 'WRONGTYPE the guard of the hash is not of this layout' end
  local oldest, newest, latest = sub(header, 1, 8), sub(header, 9, 16), sub(header, 17, 24)
  local before = guard and sub(guard, 9, 16)
  local unread
  if guard then
    unread = later(oldest, sub(guard, 1, 8)) and not later(before, latest)
  else
    unread = oldest ~= NONE and redis.call('HLEN', key) == 0
  end
  if not unread then return compare(key, guard, fields_of(from, to), newest) end

  if latest ~= NEVER and micros(latest) <= now() then
    redis.call('DEL', key)
    return 0
  end
  local list = FIELDS_EXPIRE and fields_of(from, to)
  local already = list and before and fields_expire_already(key, list)
  local err
  for at = from, to - 1 do err = err or failed(redis.pcall('HSET', key, texts(ARGV[at]))) end
  err = err or failed(redis.pcall('HSET', key, GUARD, sub(header, 9, 24), texts(ARGV[to])))
  if err then return nil, err end
  expire(key, latest, before)
  if list then keep_expiring(key, list, already, latest, before) end
  return count
end

local stored, stale, reply = 0, 0, { 0, 0 }
local at = 1
for index, key in ipairs(KEYS) do
  local header = ARGV[at]
  local fields = unpack_numbers('>I4', header, 25)
  local last = at + math.ceil(fields / CHUNK)
  local count, err = write(key, header, fields, at + 1, last)
  if err then
    reply[#reply + 1] = index
    reply[#reply + 1] = err
  else
    stored, stale = stored + count, stale + fields - count
  end
  at = last + 1
end
reply[1], reply[2] = stored, stale
return reply
