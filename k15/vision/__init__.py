"""Pictures: how they are read, drawn, asked about and described.

Read `scenes` first: problems without end about pictures.
"""
