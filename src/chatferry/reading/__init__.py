"""Takes apart what people send, in a process of its own: `python -m chatferry.reading`.

What strangers made is decoded by libraries in C, may be a bomb, and may never end. So whoever reads it has no secrets,
little memory and little time, does one file and ends. `readers` starts it; nothing here knows the gateway.

On its standard input comes a line of JSON, the `Job`, and then the file; what it writes is a line of JSON, the `Found`,
and then the picture or the sound that was made of it, if one was.
"""
