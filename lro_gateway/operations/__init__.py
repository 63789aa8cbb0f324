"""Operations: their names, states and progress, and how often they are polled."""
