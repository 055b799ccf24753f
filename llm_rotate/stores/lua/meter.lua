-- core/meter.py in this server's terms, function for function. What stands there is not said
-- again here. A meter is kept as it is, with what follows from its limit; its ring is a string,
-- four bytes a slot, since as a table it would cost more than all else in an admission.
local INF = math.huge
local COARSE_SLOTS, FINE_SLOTS, FEW = 60, 120, 100
local MOST = 4294967295 -- that four bytes hold
local BURST_SHARE, FEWEST_REQUESTS, GRACE = 1 / 12, 3, 0.0001

local function rate(meter)
  local limit = math.min(meter.stated, meter.told, meter.guess)
  local fewest = meter.kind == 0 and FEWEST_REQUESTS or 1
  local usual = math.max(limit * BURST_SHARE, fewest)
  meter.limit = limit
  meter.burst = math.min(meter.stated_burst < INF and meter.stated_burst or usual, limit)
  meter.pace = meter.window / limit
end

-- Slots that this call changed stand beside the ring until it is kept: a new string each time
-- would be the dearest part of many admissions in one call.
local function slot_of(meter, number)
  local at = number % meter.slots
  return meter.fresh[at] or (struct.unpack('<I4', meter.ring, at * 4 + 1))
end

local function keep_ring(meter)
  for at, kept in pairs(meter.fresh) do
    meter.ring = string.sub(meter.ring, 1, at * 4) .. struct.pack('<I4', kept)
      .. string.sub(meter.ring, at * 4 + 5)
  end
  meter.fresh = nil
end

-- The total is always the ring's: what a slot cannot hold is not in it either.
local function add(meter, number, more)
  local held = slot_of(meter, number)
  local kept = math.floor(math.min(math.max(0, held + more), MOST))
  meter.fresh[number % meter.slots] = kept
  meter.total = meter.total + kept - held
end

local function shape(meter, stated, burst, window)
  meter.stated, meter.stated_burst, meter.window = stated, burst, window
  local slots = stated < FEW and COARSE_SLOTS or FINE_SLOTS
  meter.per_second = slots / window
  meter.slots = slots + 1
  meter.ring, meter.fresh = string.rep('\0', meter.slots * 4), {}
  meter.total = 0
  rate(meter)
end

local function advance(meter, at)
  local slot = math.floor(at * meter.per_second)
  if slot - meter.last >= meter.slots then
    meter.total, meter.ring, meter.fresh = 0, string.rep('\0', meter.slots * 4), {}
  elseif slot ~= meter.last and meter.total ~= 0 then
    for number = meter.last + 1, slot do
      local over = slot_of(meter, number)
      if over ~= 0 then
        add(meter, number, -over)
      end
    end
  end
  meter.last = slot
  return slot
end

local function reshape(meter, stated, burst, window, at)
  advance(meter, at)
  local newest, before = meter.last, meter.per_second
  local was = {ring = meter.ring, fresh = meter.fresh, slots = meter.slots}
  shape(meter, stated, burst, window)
  meter.last = math.floor(at * meter.per_second)
  for old = newest - was.slots + 1, newest do
    local amount = slot_of(was, old)
    local slot = math.min(math.ceil((old + 1) / before * meter.per_second) - 1, meter.last)
    if amount ~= 0 and meter.last - meter.slots < slot then
      add(meter, slot, amount)
    end
  end
end

local function new_meter(kind, stated, burst, window, since)
  local meter = {kind = kind, since = since, told = INF, guess = INF, last = 0, full_at = 0,
    full_until = 0, left = 0, left_until = 0}
  shape(meter, stated, burst, window)
  return meter
end

local function room_at(meter, amount)
  if amount > meter.stated then
    return INF
  end
  local over = meter.total + math.min(amount, meter.limit) - meter.limit
  local number = meter.last - meter.slots
  while over > 0 and number < meter.last do
    number = number + 1
    over = over - slot_of(meter, number)
  end
  return (number + meter.slots) / meter.per_second
end

local function free_at(meter, amount, at)
  local free = at
  if meter.left_until > at and amount > meter.left then
    free = meter.left_until
  end
  if meter.limit == INF then
    return free
  end
  advance(meter, at)
  if meter.total + amount > meter.limit then
    free = math.max(free, room_at(meter, amount))
  end
  local due = meter.full_at - GRACE
  local spare = meter.burst - amount
  if spare > 0 then
    due = due - spare * meter.pace
  end
  return math.max(free, due)
end

local function take(meter, amount, at)
  local slot = advance(meter, at)
  add(meter, slot, amount)
  local full_at = math.max(at, meter.full_at)
  if meter.full_until ~= 0 then
    full_at = math.max(full_at, meter.full_until + (meter.burst - amount) * meter.pace)
    meter.full_until = 0
  end
  meter.full_at = full_at + amount * meter.pace
  if meter.kind == 0 and meter.total + amount > meter.limit then
    meter.full_until = room_at(meter, amount)
  end
  if meter.left_until > at then
    meter.left = meter.left - amount
  end
end

local function correct(meter, more, taken_at, at)
  local newest = advance(meter, at)
  local slot = math.floor(taken_at * meter.per_second)
  if newest - meter.slots < slot and slot <= newest then
    add(meter, slot, more)
  end
  if more < 0 then
    meter.full_until = 0
  end
  local full_at = (meter.full_at > at or more < 0) and meter.full_at or at
  meter.full_at = math.min(full_at + more * meter.pace, at + meter.window)
  if meter.left_until > at then
    meter.left = meter.left - more
  end
end

local function taken(meter, at)
  advance(meter, at)
  return meter.total
end

local function note_left(meter, left, at)
  local slot = advance(meter, at)
  local others = math.ceil(meter.limit - meter.total - math.floor(math.max(left, 0)))
  if others > 0 then
    add(meter, slot, others)
  end
end
