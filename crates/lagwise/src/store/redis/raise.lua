
-- Merges a claim with the one that is kept, as `Claim::merge` does, and keeps the result for `keep`
-- from now, or for longer if it is kept for longer already. Bytes are compared as numbers, one by one:
-- Lua orders strings by the server's locale, and its numbers have 53 bits.
local LSN, UNSETTLED, READ, SEVERAL, BEYOND, UNCAPTURED = 1, 2, 4, 8, 16, 32

local function parse(text)
  local flags = string.byte(text, 1) or 64
  local function has(flag)
    return bit.band(flags, flag) ~= 0
  end
  local at = 20
  local function take(flag, length)
    if not has(flag) then
      return false
    end
    at = at + length
    return string.sub(text, at - length, at - 1)
  end
  local claim = {
    system = string.sub(text, 2, 9),
    timeline = string.sub(text, 10, 13),
    issued = string.sub(text, 14, 19),
    lsn = take(LSN, 8),
    unsettled = take(UNSETTLED, 7),
    read = take(READ, 8),
    read_at = take(READ, 6),
    several = has(SEVERAL),
    beyond = has(BEYOND),
    uncaptured = has(UNCAPTURED),
  }
  if flags > 63 or #text ~= at - 1 then
    return nil
  end
  return claim
end

local function print(claim)
  local flags = 0
  local function flag(set, value)
    if set then
      flags = flags + value
    end
  end
  flag(claim.lsn, LSN)
  flag(claim.unsettled, UNSETTLED)
  flag(claim.read, READ)
  flag(claim.several, SEVERAL)
  flag(claim.beyond, BEYOND)
  flag(claim.uncaptured, UNCAPTURED)
  return string.char(flags) .. claim.system .. claim.timeline .. claim.issued
    .. (claim.lsn or '') .. (claim.unsettled or '') .. (claim.read or '') .. (claim.read and claim.read_at or '')
end

-- The order of two numbers of the same length, of which the first may be less, equal or greater.
local function order(one, other)
  for place = 1, #one do
    local difference = string.byte(one, place) - string.byte(other, place)
    if difference ~= 0 then
      return difference
    end
  end
  return 0
end

local function greater(one, other)
  if not one or not other then
    return one or other
  end
  return order(other, one) > 0 and other or one
end

local function less(one, other)
  if not one or not other then
    return one or other
  end
  return order(other, one) < 0 and other or one
end

local function merge(kept, new)
  if kept.system ~= new.system then
    return order(new.issued, kept.issued) > 0 and new or kept
  end
  local farther = kept.lsn and kept or new
  if kept.lsn and new.lsn then
    farther = order(new.timeline .. new.lsn, kept.timeline .. kept.lsn) > 0 and new or kept
  end
  local timeline = greater(kept.timeline, new.timeline)
  local ended = farther.lsn and order(farther.timeline, timeline) < 0
  local both_read = (kept.read or kept.several) and (new.read or new.several)
  local several = kept.several or new.several or (both_read and kept.read ~= new.read)
  return {
    system = kept.system,
    timeline = timeline,
    issued = greater(kept.issued, new.issued),
    lsn = not ended and farther.lsn,
    unsettled = greater(kept.unsettled, new.unsettled),
    read = not several and (kept.read or new.read),
    read_at = not several and less(kept.read_at, new.read_at),
    several = several,
    beyond = kept.beyond or new.beyond or ended,
    uncaptured = kept.uncaptured or new.uncaptured or ended,
  }
end

if unkept then
  may_have_forgotten()
end
local claim = parse(ARGV[3])
local before = redis.call('GET', KEYS[1])
if before then
  local kept = parse(before)
  if not kept or not claim then
    return redis.error_reply('UNREADABLE what is kept is no claim')
  end
  claim = merge(kept, claim)
end
local left = redis.call('PTTL', KEYS[1])
redis.call('SET', KEYS[1], print(claim), 'PX', math.max(keep, left))
return redis.status_reply('OK')
