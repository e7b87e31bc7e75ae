-- What scripts see. Called once for each interpreter, with the host's functions; returns the environment of scripts, the handler of
-- their errors, the table behind the environment, where KEYS and ARGV are put, and what makes an environment for a library of functions.
--
-- Tables that scripts share are shown to them through empty ones, so that they cannot be changed: the shared table is found by
-- __index, and writing is refused by __newindex. What goes around metatables (rawset, table.insert) knows the empty tables and refuses.

local host = ...
local real = _G
local error, next, pairs, pcall, rawget, rawset, select, setmetatable, tostring, type, xpcall =
    error, next, pairs, pcall, rawget, rawset, select, setmetatable, tostring, type, xpcall
local collectgarbage, getmetatable = collectgarbage, getmetatable
local getinfo = debug.getinfo
local find, gsub, sub = string.find, string.gsub, string.sub
local raised, killed = host.raised, host.killed

local shown = {}        -- what scripts see -> what it stands for

local function refuse()
    error('Attempt to modify a readonly table', 2)
end

local function view(table_)
    local empty = {}
    setmetatable(empty, { __index = table_, __newindex = refuse, __metatable = false, __view = true })
    shown[empty] = table_
    return empty
end

-- Errors --------------------------------------------------------------------------------------------------------------------

-- Turns whatever a script raised into a table with the message, and the line it came from.
local function handler(err)
    local level, info = 2, getinfo(2, 'Sl')
    while info and (info.what == 'C' or info.source == '=prelude' or info.currentline < 0) do
        level = level + 1
        info = getinfo(level, 'Sl')
    end
    err = raised(err)
    if type(err) ~= 'table' then
        err = { err = 'ERR ' .. tostring(err) }
    end
    if info then
        err.source = info.source
        err.line = info.currentline
    end
    return err
end

-- Globals -------------------------------------------------------------------------------------------------------------------

local globals = {}
for _, name in pairs({
    'assert', 'error', 'gcinfo', 'getmetatable', 'ipairs', 'rawequal', 'rawget', 'select', 'setmetatable',
    'tonumber', 'tostring', 'type', 'unpack', '_VERSION',
}) do
    globals[name] = real[name]
end
globals.__redis__err__handler = handler

-- How the collector works is not a script's to say: the next one has it, too.
local collects = { collect = true, count = true, step = true }
globals.collectgarbage = function(what, ...)
    if what == nil or collects[what] then
        return collectgarbage(what, ...)
    end
    return 0
end

-- `pcall` gives an error reply as its text; all else that catches errors gives the table.
local function text_of(err)
    err = raised(err)
    local text = type(err) == 'table' and err.err
    if type(text) == 'string' or type(text) == 'number' then
        return text
    end
    return err
end

local function caught(ok, ...)
    if not ok then
        killed()
        return false, text_of((...))
    end
    return true, ...
end

globals.pcall = function(...)
    return caught(pcall(...))
end

local function passed(ok, ...)
    if not ok then
        killed()
        return false, raised((...))
    end
    return true, ...
end

-- The hook does not run in a handler of what it has raised itself: a handler of the script's own might never end then.
globals.xpcall = function(f, on_error)
    return passed(xpcall(f, function(err)
        if killed(true) then
            return err
        end
        return on_error(raised(err))
    end))
end

globals.next = function(table_, key)
    return next(shown[table_] or table_, key)
end

globals.pairs = function(table_)
    local meant = shown[table_]
    if meant then
        return next, meant, nil
    end
    return pairs(table_)
end

globals.rawset = function(table_, key, value)
    if shown[table_] then
        error('Attempt to modify a readonly table', 0)
    end
    return rawset(table_, key, value)
end

globals.setmetatable = function(table_, meta)
    if shown[table_] then
        error('Attempt to modify a readonly table', 0)
    end
    return setmetatable(table_, meta)
end

globals.getmetatable = function(...)
    local value = ...
    if select('#', ...) == 0 then
        error("bad argument #1 to 'getmetatable' (value expected)", 2)
    end
    if shown[value] then
        return shown.metatable
    end
    return getmetatable(value)
end

globals.rawget = function(table_, key)
    return rawget(shown[table_] or table_, key)
end

-- Text only: bytecode could do anything.
globals.loadstring = host.loadstring
globals.load = function(reader, name)
    local parts = {}
    while true do
        local part = reader()
        if part == nil or part == '' then
            break
        end
        if type(part) ~= 'string' then
            error('reader function must return a string', 2)
        end
        parts[#parts + 1] = part
    end
    return host.loadstring(real.table.concat(parts), name or '=(load)')
end

-- redis.* -------------------------------------------------------------------------------------------------------------------

local redis = {}
for name, value in pairs(host.redis) do
    redis[name] = value
end
-- Line ends around what follows the code go.
local function trimmed(text)
    local code = find(text, ' ', 1, true) or 0
    local rest = gsub(sub(text, code + 1), '^[\r\n]+', '')
    rest = gsub(rest, '[\r\n]+$', '')
    return sub(text, 1, code) .. rest
end

redis.error_reply = function(...)
    local text = ...
    if select('#', ...) ~= 1 or type(text) ~= 'string' then
        return { err = 'ERR wrong number or type of arguments' }
    end
    text = gsub(text, '^%-', '')
    if not find(text, ' ', 1, true) then
        text = 'ERR ' .. text
    end
    return { err = trimmed(text) }
end

redis.status_reply = function(...)
    local text = ...
    if select('#', ...) ~= 1 or type(text) ~= 'string' then
        return { err = 'ERR wrong number or type of arguments' }
    end
    return { ok = text }
end

redis.breakpoint = function() return false end
redis.debug = function() end
redis.replicate_commands = function() return true end

globals.redis = view(redis)
globals.server = globals.redis

-- Libraries -----------------------------------------------------------------------------------------------------------------

for _, name in pairs({ 'string', 'table', 'math' }) do
    globals[name] = view(real[name])
end
local resume, foreach = coroutine.resume, real.table.foreach
local coroutines = {}
for name, value in pairs(coroutine) do
    coroutines[name] = value
end
coroutines.resume = function(...)
    return passed(resume(...))
end
globals.coroutine = view(coroutines)
-- Like `pairs`, it goes through what an empty table stands for.
real.table.foreach = function(table_, ...)
    return foreach(shown[table_] or table_, ...)
end
globals.os = view({ clock = host.clock })
for name, functions in pairs(host.libraries) do
    globals[name] = view(functions)
end

local strings = getmetatable('')
strings.__metatable = view({ __index = globals.string })

local strict = {
    __index = function(_, name)
        error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
    end,
}
local of_functions = {}
for name, value in pairs(globals) do
    of_functions[name] = value
end
of_functions.__redis__err__handler = nil
setmetatable(of_functions, strict)
of_functions._G = view(of_functions)
setmetatable(globals, strict)
local environment = view(globals)
globals._G = environment
shown.metatable = view({})

-- Libraries of functions ----------------------------------------------------------------------------------------------------

local while_loading = {}
for name, value in pairs(redis) do
    if find(name, '^LOG_') or find(name, '^REDIS_VERSION') then
        while_loading[name] = value
    end
end
while_loading.log = redis.log
while_loading.register_function = host.register_function
setmetatable(while_loading, strict)
local globals_while_loading = setmetatable({ redis = view(while_loading) }, strict)

-- While a library is loaded it sees what registers functions and little else; once it is opened, its functions see what scripts see.
local function library()
    local meta = { __index = globals_while_loading, __newindex = refuse, __metatable = false, __view = true }
    local function open()
        meta.__index = of_functions
    end
    return setmetatable({}, meta), open
end

return environment, handler, globals, library
